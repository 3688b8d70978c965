"""Git LFS pointers: small text files that a clone without Git LFS holds in place of the weights."""

PREFIX = b"version https://git-lfs"
REASON = "a Git LFS pointer: run `git lfs pull` for the file itself"
