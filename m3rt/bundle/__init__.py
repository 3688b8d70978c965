"""Reads and checks a bundle: a directory with a manifest, files and golden vectors. This room opens no engine.

A new field of m3rt.json goes into manifest.py, an engine's option into sessions.py. A new kind of file has its name in
manifest.py, beside GOLDEN, and a module that reads it, as golden.py does.
"""

from .directory import DEFAULT, Bundle, check_hashes, open_bundle, portable, replace_manifest

__all__ = ["DEFAULT", "Bundle", "check_hashes", "open_bundle", "portable", "replace_manifest"]
