"""A small ONNX graph builder: one call for each node, constants inline, weights in the external file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rt.bundle.fields import Port

from .weights import WeightsFile

OPSET = 20  # the first version with Gelu
IR_VERSION = 10
# Operators that only onnxruntime has; all others are standard ONNX.
_CONTRIB = {
    "BiasGelu", "GatherBlockQuantized", "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention",
    "PackedMultiHeadAttention", "RemovePadding", "RestorePadding", "SkipLayerNormalization",
}  # fmt: skip
_DTYPES = {"int64": "INT64", "float32": "FLOAT", "bool": "BOOL"}
_MAX_INLINE_BYTES = 1024  # larger tensors go to the external file


class GraphBuilder:
    """Collects nodes and initializers; every method returns the name of a value."""

    def __init__(self, weights: WeightsFile | None, opset: int = OPSET) -> None:
        self._weights = weights
        self._opset = opset
        self._root: list[Any] = []
        self._nodes = self._root
        self._shared: dict[Hashable, str] = {}
        self._initializers: list[Any] = []
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self._scope = ""
        self._count = 0

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output; an empty input name leaves out an optional input."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Append a node with so many outputs."""
        from onnx import helper

        name = self._name(kind)
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        domain = "com.microsoft" if kind in _CONTRIB else ""
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, domain=domain, **attributes))
        return names

    def cast(self, value: str, dtype: Any) -> str:
        """Convert a value to a numpy dtype."""
        from onnx import helper

        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def constant(self, value: Any, dtype: Any) -> str:
        """Add a small constant; equal constants share one tensor."""
        from onnx import numpy_helper

        array = np.asarray(value, dtype)
        key = (array.tobytes(), array.dtype.str, array.shape)
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def weight(self, array: NDArray[Any], dtype: Any = None) -> str:
        """Add a tensor of the model: external, or inline if it is tiny or there is no external file."""
        return self._store(self._name("weight"), array, dtype)

    def shared(self, key: Hashable, emit: Callable[[], str]) -> str:
        """The value that `emit` writes: once for each key, and at the top level even if a branch asks for it first."""
        if key not in self._shared:
            outer, self._nodes = self._nodes, self._root
            try:
                self._shared[key] = emit()
            finally:
                self._nodes = outer
        return self._shared[key]

    def choose(self, condition: str, then: Callable[[], str], otherwise: Callable[[], str]) -> str:
        """Append an If: only the branch that the boolean `condition` picks is computed."""
        return self.op("If", condition, then_branch=self._branch(then), else_branch=self._branch(otherwise))

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of values that are made inside, for profiles and graph viewers."""
        outer, self._scope = self._scope, f"{self._scope}{name}/"
        try:
            yield
        finally:
            self._scope = outer

    def output(self, value: str, name: str) -> None:
        """Give `value` the name of a graph output."""
        from onnx import helper

        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def absorb(self, graph: Any) -> None:
        """Add the nodes and initializers of a GraphProto; its values keep their names."""
        from onnx import numpy_helper

        self._root.extend(graph.node)
        for tensor in graph.initializer:
            self._store(tensor.name, numpy_helper.to_array(tensor))

    def prepend(self, kind: str, inputs: Sequence[str], output: str) -> None:
        """Put a node before all others; they read its output."""
        from onnx import helper

        self._root.insert(0, helper.make_node(kind, inputs, [output]))

    def model(self, inputs: Sequence[Port], outputs: Sequence[Port]) -> Any:
        """The finished ModelProto."""
        from onnx import helper

        graph = helper.make_graph(
            self._root, "m3rt", [_info(p) for p in inputs], [_info(p) for p in outputs], self._initializers
        )
        opsets = [helper.make_opsetid("", self._opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="m3rt")

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._scope}{kind}_{self._count}"

    def _store(self, name: str, array: NDArray[Any], dtype: Any = None) -> str:
        from onnx import numpy_helper

        if self._weights is None or array.nbytes <= _MAX_INLINE_BYTES:
            proto = numpy_helper.from_array(np.asarray(array, dtype or array.dtype, order="C"), name)
        else:
            proto = self._weights.add(name, array, dtype)
        self._initializers.append(proto)
        return name

    def _branch(self, emit: Callable[[], str]) -> Any:
        from onnx import ValueInfoProto, helper

        outer, self._nodes = self._nodes, []
        try:
            result = emit()
            return helper.make_graph(self._nodes, self._name("branch"), [], [ValueInfoProto(name=result)])
        finally:
            self._nodes = outer


def _info(port: Port) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(port.name, getattr(TensorProto, _DTYPES[port.dtype]), port.shape)
