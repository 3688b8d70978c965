"""Reads and checks a bundle: a directory with a manifest, files and golden vectors; it runs nothing.

A new field of m3rt.json goes into manifest.py, a new kind of file beside its name there into a module like golden.py,
an engine's option into sessions.py.
"""

from .directory import DEFAULT, Bundle, check_hashes, open_bundle, portable, replace_manifest

__all__ = ["DEFAULT", "Bundle", "check_hashes", "open_bundle", "portable", "replace_manifest"]
