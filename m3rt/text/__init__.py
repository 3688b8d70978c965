"""Text to token ids, and long texts to chunks: knows the tokenizer's files, no model."""
