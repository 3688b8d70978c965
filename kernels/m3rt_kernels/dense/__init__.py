"""Scores and the best k of dense vectors: float32, int8 and bits."""
