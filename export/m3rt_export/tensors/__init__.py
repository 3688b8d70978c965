"""Reads a checkpoint's tensors by name, from every file format that holds them. No code in a file is ever run."""
