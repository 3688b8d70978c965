"""A checkpoint's folder: where it is, what its settings and its tokenizer say. No tensors."""
