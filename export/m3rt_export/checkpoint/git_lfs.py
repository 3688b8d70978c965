"""Git LFS pointers: small text files that stand where a clone without Git LFS has no weights."""

PREFIX = b"version https://git-lfs"
REASON = "a Git LFS pointer: run `git lfs pull` for the file itself"
