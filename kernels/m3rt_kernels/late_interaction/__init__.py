"""MaxSim of ColBERT vectors: float32, float16, int8 and bits."""
