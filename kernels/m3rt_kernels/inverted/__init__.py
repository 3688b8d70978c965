"""An inverted index of sparse vectors, and its exact search."""
