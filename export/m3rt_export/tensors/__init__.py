"""A checkpoint's tensors by name, from every file format that has them. Nothing of theirs is ever run."""
