"""Finds a checkpoint and reads its settings and its tokenizer, but no tensors."""
