"""A question to ranked hits, over a snapshot of the store. Knows no paths."""
