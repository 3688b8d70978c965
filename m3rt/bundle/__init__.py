"""A bundle: the directory that an export leaves, its manifest, and the vectors that prove it."""

from .directory import DEFAULT, Bundle, check_hashes, open_bundle, portable, replace_manifest

__all__ = ["DEFAULT", "Bundle", "check_hashes", "open_bundle", "portable", "replace_manifest"]
