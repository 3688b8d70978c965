"""Linear maps in int8: activations are rounded to uint8 and weights to int8, products are scaled back to float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .builder import GraphBuilder
from .linear import UNKNOWN, Activation, Array, Dense, Rows
from .quantize import quantize_columns, smoothing

Rounded = tuple[NDArray[np.int8], Array]  # columns (k, n) and their scales (n,)
# SmoothQuant's exponents (benchmarks/LOG.md): one scale for all rows has more to gain from channels of like range.
_STATIC_ALPHA, _ROW_ALPHA = 0.85, 0.6
_MIN_STEP = 1e-12  # a static scale is not smaller: channels of zeros would make it 0, and it is divided by
_GELU_MINIMUM = -0.17  # the smallest value of x * Phi(x) is -0.16997
# Smallest row maximum allowed: 0.17 * 223 / 32 = 1.1847, rounded up to a bf16 value. Below it GELU's minimum -0.17
# would need more than the 32 codes below zero.
_MIN_GELU_SCALE = 1.1875
_MIN_SCALE = 2.0**-40  # takes the place of the maximum of a row of zeros
_ZERO_CODE = 128
_GELU_ZERO_CODE = 32


class Quantized(NamedTuple):
    """Hidden states as uint8 around the code `zero`.

    scale: the factor of a product with the codes, (rows, 1), or one number for all rows if `static`.
    """

    codes: str
    scale: str
    zero: int
    static: bool


class Int8Linear:
    """uint8 activations and int8 weights with a scale for each column, in onnxruntime's own operator.

    Activations have a scale for each row, which depends on that row alone, or one scale from calibration: either way a
    text's result does not depend on its batch. Channels are smoothed (SmoothQuant, arXiv:2211.10438) where calibration
    measured their range. After GELU, which is never below -0.17, zero is code 32 instead of 128, which nearly doubles
    the resolution of the positive side.
    """

    dtype = np.dtype(np.float32)

    def project(self, g: GraphBuilder, x: Rows, maps: Sequence[Dense], activation: Activation = UNKNOWN) -> list[str]:
        factors, step = None, np.float32(1)
        if activation.absmax is not None:
            alpha = _STATIC_ALPHA if activation.static else _ROW_ALPHA
            factors = smoothing(activation.absmax, [dense.weight for dense in maps], alpha)
            if activation.static:  # in steps, so that rounding can join the product with the factors
                step = np.maximum((activation.absmax / factors).max() / 127, np.float32(_MIN_STEP))
            x = x._replace(value=g.op("Mul", x.value, g.weight(1 / (factors * step))))
        quantized = self._by_tensor(g, x) if activation.static else self._by_row(g, x, activation.gelu)
        results = []
        for (columns, scales), dense in zip(_rounded(maps, activation, factors), maps, strict=True):
            added = None if dense.bias is None else g.weight(dense.bias)
            results.append(self._product(g, quantized, g.weight(columns), g.weight(scales * step), added))
        return results

    def _by_tensor(self, g: GraphBuilder, x: Rows) -> Quantized:
        """Round x, which is in steps already."""
        one = g.constant(1, np.float32)
        codes = g.op("QuantizeLinear", x.value, one, g.constant(_ZERO_CODE, np.uint8))
        return Quantized(codes, one, _ZERO_CODE, static=True)

    def _by_row(self, g: GraphBuilder, x: Rows, gelu: bool) -> Quantized:
        zero = _GELU_ZERO_CODE if gelu else _ZERO_CODE
        scale = self._row_scales(g, x, gelu)
        flat = g.op("Reshape", scale, g.constant([-1], np.int64))
        zeros = g.shared((zero, x.row_count), lambda: g.op("Expand", g.constant([zero], np.uint8), x.row_count))
        return Quantized(g.op("QuantizeLinear", x.value, flat, zeros, axis=0), scale, zero, static=False)

    def _row_scales(self, g: GraphBuilder, x: Rows, gelu: bool) -> str:
        """(rows, 1): the value of one uint8 step in each row; 0 for a row of zeros, whose product is then 0."""
        axis = g.constant([1], np.int64)
        if gelu:
            codes_above = 255 - _GELU_ZERO_CODE
            step = g.op("Mul", g.op("ReduceMax", x.value, axis), g.constant(1 / codes_above, np.float32))
            return g.op("Max", step, g.constant(-_GELU_MINIMUM / _GELU_ZERO_CODE, np.float32))
        largest = g.op("ReduceMax", g.op("Abs", x.value), axis)
        return g.op("Mul", largest, g.constant(1 / 127, np.float32))

    def _product(self, g: GraphBuilder, x: Quantized, columns: str, scales: str, bias: str | None) -> str:
        """Multiply by int8 columns and scale the result back to float."""
        inputs = [x.codes, columns, x.scale, scales, g.constant(x.zero, np.uint8)]
        if bias is None:
            return g.op("MatMulIntegerToFloat", *inputs)
        if x.static:
            return g.op("MatMulIntegerToFloat", *inputs, "", bias)
        # With a scale for each row the operator would multiply its own bias by the scale as well.
        return g.op("Add", g.op("MatMulIntegerToFloat", *inputs), bias)


def _rounded(maps: Sequence[Dense], activation: Activation, factors: Array | None) -> list[Rounded]:
    """The int8 columns (k, n) of each map and their scales, after multiplying its input channels by the factors.

    The maps read the same moments, so they are rounded as one.
    """
    known: list[Rounded] | None = activation.rounded.get(id(maps[0].weight))
    if known is not None:
        return known
    weights = [dense.weight if factors is None else dense.weight * factors for dense in maps]
    moments = activation.moments
    if moments is not None and factors is not None:
        moments = moments / factors[:, None] / factors
    columns, scales = quantize_columns(np.concatenate(weights), moments)
    ends = np.cumsum([len(weight) for weight in weights])[:-1]
    parts = zip(np.split(columns, ends, axis=1), np.split(scales, ends), strict=True)
    rounded = [(np.ascontiguousarray(part), scale) for part, scale in parts]
    if moments is not None:
        activation.rounded[id(maps[0].weight)] = rounded
    return rounded


class StandardInt8Linear(Int8Linear):
    """The same arithmetic in standard operators, for OpenVINO.

    OpenVINO's static int8 kernels want one scale for a whole tensor. So a row is divided by its scale, here its largest
    magnitude, before it is rounded, and the product is multiplied by it: static kernels, dynamic scales. The maximum is
    a value of the row itself, so bf16 holds it exactly; a step would be rounded, and not alike in every row of a batch.
    """

    def _by_tensor(self, g: GraphBuilder, x: Rows) -> Quantized:
        # Multiply by a 1 computed at run time. With a constant 1 OpenVINO folds the multiply into a FakeQuantize that
        # it cannot fuse with the layer norm.
        one = g.shared(("one", x.row_count), lambda: g.cast(g.op("Div", x.row_count, x.row_count), np.float32))
        quantized = super()._by_tensor(g, x._replace(value=g.op("Mul", x.value, one)))
        zero = g.constant(quantized.zero, np.uint8)
        return quantized._replace(codes=g.op("DequantizeLinear", quantized.codes, quantized.scale, zero))

    def _by_row(self, g: GraphBuilder, x: Rows, gelu: bool) -> Quantized:
        zero = _GELU_ZERO_CODE if gelu else _ZERO_CODE
        scale = self._row_scales(g, x, gelu)
        step, offset = g.constant(1 / (255 - zero), np.float32), g.constant(zero, np.uint8)
        shares = g.op("Mul", x.value, g.op("Reciprocal", scale))
        codes = g.op("DequantizeLinear", g.op("QuantizeLinear", shares, step, offset), step, offset)
        return Quantized(codes, scale, zero, static=False)

    def _row_scales(self, g: GraphBuilder, x: Rows, gelu: bool) -> str:
        """(rows, 1): the largest magnitude in each row, not below a minimum that bf16 holds exactly too."""
        axis = g.constant([1], np.int64)
        if gelu:
            return g.op("Max", g.op("ReduceMax", x.value, axis), g.constant(_MIN_GELU_SCALE, np.float32))
        return g.op("Max", g.op("ReduceMax", g.op("Abs", x.value), axis), g.constant(_MIN_SCALE, np.float32))

    def _product(self, g: GraphBuilder, x: Quantized, columns: str, scales: str, bias: str | None) -> str:
        y = g.op("MatMul", x.codes, g.op("DequantizeLinear", columns, scales, axis=1))
        y = y if x.static else g.op("Mul", y, x.scale)
        return y if bias is None else g.op("Add", y, bias)
