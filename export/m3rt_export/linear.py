"""How a precision stores and multiplies weights: the only place where fp32, fp16 and int8 differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .graph import GraphBuilder
from .quantize import quantize_columns, quantize_rows, smoothing

Array = NDArray[np.float32]
GELU_MINIMUM = -0.17  # the smallest value of x * Phi(x) is -0.16997


class Dense(NamedTuple):
    """One linear map: weight (n, k) as in torch, bias (n,) or None."""

    weight: Array
    bias: Array | None


class Rows(NamedTuple):
    """A value of shape (rows, k) and the one-element tensor that holds its number of rows."""

    value: str
    number: str


class Linear(Protocol):
    """Writes embedding look-ups and linear maps of one precision into a graph."""

    dtype: Any

    def rows(self, g: GraphBuilder, table: Array, ids: str) -> str:
        """Rows of an embedding table (vocab, hidden) for `ids` of any shape: (number of ids, hidden)."""
        ...

    def project(
        self,
        g: GraphBuilder,
        x: Rows,
        maps: Sequence[Dense],
        *,
        absmax: Array | None = None,
        gelu: bool = False,
    ) -> list[str]:
        """x through each map. absmax (k,): range of x's channels in calibration; gelu: x is >= -0.17."""
        ...


class FloatLinear:
    """fp32 and fp16: Gemm with its bias."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def rows(self, g: GraphBuilder, table: Array, ids: str) -> str:
        flat = g.op("Reshape", ids, g.constant([-1], np.int64))
        return g.op("Gather", g.weight(table, self.dtype), flat)

    def project(
        self,
        g: GraphBuilder,
        x: Rows,
        maps: Sequence[Dense],
        *,
        absmax: Array | None = None,
        gelu: bool = False,
    ) -> list[str]:
        return [
            g.op(
                "Gemm",
                x.value,
                g.weight(w, self.dtype),
                *([] if b is None else [g.weight(b, self.dtype)]),
                transB=1,
            )
            for w, b in maps
        ]


class Int8Linear:
    """u8 activations with a scale per row, s8 weights with a scale per column.

    A row's scale depends on that row alone, so a text's result does not depend on its batch. Channels are
    smoothed (SmoothQuant, arXiv:2211.10438) where calibration gives their range. After GELU, which is never
    below -0.17, zero sits at 32 instead of 128, which nearly doubles the resolution of the positive side.
    """

    dtype = np.dtype(np.float32)
    _GELU_ZERO = 32
    _ZERO = 128

    def rows(self, g: GraphBuilder, table: Array, ids: str) -> str:
        quantized, scales = quantize_rows(table)
        flat = g.op("Reshape", ids, g.constant([-1], np.int64))
        values, scale = (g.op("Gather", g.weight(array), flat) for array in (quantized, scales))
        return g.op("DequantizeLinear", values, scale, axis=0)

    def project(
        self,
        g: GraphBuilder,
        x: Rows,
        maps: Sequence[Dense],
        *,
        absmax: Array | None = None,
        gelu: bool = False,
    ) -> list[str]:
        weights = [w for w, _ in maps]
        if absmax is not None:
            factors = smoothing(absmax, weights)
            x = x._replace(value=g.op("Mul", x.value, g.weight(1 / factors)))
            weights = [w * factors for w in weights]
        zero = self._GELU_ZERO if gelu else self._ZERO
        quantized, scale = self._quantize(g, x, zero)
        results = []
        for weight, (_, bias) in zip(weights, maps, strict=True):
            columns, scales = quantize_columns(weight)
            y = g.op(
                "MatMulIntegerToFloat",
                *(quantized, g.weight(columns), scale, g.weight(scales), g.constant(zero, np.uint8)),
            )
            # The operator's own bias is multiplied by the row's scale as well, so it cannot be used.
            results.append(y if bias is None else g.op("Add", y, g.weight(bias)))
        return results

    def _quantize(self, g: GraphBuilder, x: Rows, zero: int) -> tuple[str, str]:
        """x as uint8 and its scales (rows, 1). A row of zeros gets scale 0, hence output 0."""
        axis = g.constant([1], np.int64)
        if zero == self._GELU_ZERO:
            largest = g.op("Mul", g.op("ReduceMax", x.value, axis), g.constant(1 / (255 - zero), np.float32))
            scale = g.op("Max", largest, g.constant(-GELU_MINIMUM / zero, np.float32))
        else:
            largest = g.op("ReduceMax", g.op("Abs", x.value), axis)
            scale = g.op("Mul", largest, g.constant(1 / 127, np.float32))
        flat = g.op("Reshape", scale, g.constant([-1], np.int64))
        zeros = g.shared((zero, x.number), lambda: g.op("Expand", g.constant([zero], np.uint8), x.number))
        return g.op("QuantizeLinear", x.value, flat, zeros, axis=0), scale


LINEARS: dict[str, Linear] = {
    "fp32": FloatLinear(np.float32),
    "fp16": FloatLinear(np.float16),
    "int8": Int8Linear(),
}
