"""An ONNX graph: the encoder's layers and heads written as nodes, in each precision and for each engine."""
