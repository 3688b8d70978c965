"""Writes ONNX graphs: the encoder's layers and heads as nodes, in each precision and for each engine."""
