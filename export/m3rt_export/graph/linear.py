"""How a precision stores and multiplies weights: the only place where fp32, fp16 and int8 differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..compact.digits import Digits, packed
from ..compact.products import Product
from .builder import GraphBuilder
from .quantize import quantize_columns, quantize_rows, smoothing

Array = NDArray[np.float32]
_TINY = 1e-12
GELU_MINIMUM = -0.17  # the smallest value of x * Phi(x) is -0.16997
_GELU_REACH = 1.1875  # above 0.17 * 223 / 32, below which GELU's minimum would not fit under zero at 32
_LEAST_REACH = 2.0**-40  # of a row of zeros


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
        static: bool = False,
        gelu: bool = False,
    ) -> list[str]:
        """x through each map.

        absmax (k,): range of x's channels in calibration; static: let it stand for the range of every text; gelu:
        x is >= -0.17.
        """
        ...

    def same(self, g: GraphBuilder, x: str, width: int) -> str:
        """x (rows, width) itself, on its way out of the encoder."""
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
        static: bool = False,
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

    def same(self, g: GraphBuilder, x: str, width: int) -> str:
        return x


class Quantized(NamedTuple):
    """x as uint8 around `zero`. scale: what a step stands for, in each row (rows, 1) or, if static, everywhere."""

    codes: str
    scale: str
    zero: int
    static: bool


class Int8Linear:
    """u8 activations, s8 weights with a scale per column.

    Tables whose columns have few values are kept in digits, exactly, others in int8 with a scale per row.

    Activations have a scale per row, which depends on that row alone, or one from calibration: either way a text's
    result does not depend on its batch. Channels are smoothed (SmoothQuant, arXiv:2211.10438) where calibration gives
    their range. After GELU, which is never below -0.17, zero sits at 32 instead of 128, which nearly doubles the
    resolution of the positive side.
    """

    dtype = np.dtype(np.float32)
    _GELU_ZERO = 32
    _ZERO = 128

    def rows(self, g: GraphBuilder, table: Array, ids: str) -> str:
        flat = g.op("Reshape", ids, g.constant([-1], np.int64))
        if few := packed(table):
            runs = [
                _unpacked(g, run, flat) if isinstance(run, Digits) else _multiplied(g, run, flat) for run in few.runs
            ]
            return g.op("Mul", g.op("Concat", *runs, axis=1) if runs[1:] else runs[0], g.weight(few.step))
        quantized, scales = quantize_rows(table)
        values, scale = (g.op("Gather", g.weight(array), flat) for array in (quantized, scales))
        return self._dequantized(g, values, scale)

    def project(
        self,
        g: GraphBuilder,
        x: Rows,
        maps: Sequence[Dense],
        *,
        absmax: Array | None = None,
        static: bool = False,
        gelu: bool = False,
    ) -> list[str]:
        weights, step = [w for w, _ in maps], np.float32(1)
        static = static and absmax is not None
        if absmax is not None:
            factors = smoothing(absmax, weights)
            weights = [w * factors for w in weights]
            if static:  # a step is then 1, and rounding can join the product with the factors
                step = np.maximum((absmax / factors).max() / 127, np.float32(_TINY))
            x = x._replace(value=g.op("Mul", x.value, g.weight(1 / (factors * step))))
        quantized = self._by_tensor(g, x) if static else self._by_row(g, x, self._GELU_ZERO if gelu else self._ZERO)
        results = []
        for weight, (_, bias) in zip(weights, maps, strict=True):
            columns, scales = quantize_columns(weight)
            added = None if bias is None else g.weight(bias)
            results.append(self._product(g, quantized, g.weight(columns), g.weight(scales * step), added))
        return results

    def same(self, g: GraphBuilder, x: str, width: int) -> str:
        return x

    def _dequantized(self, g: GraphBuilder, values: str, scale: str) -> str:
        return g.op("DequantizeLinear", values, scale, axis=0)

    def _by_tensor(self, g: GraphBuilder, x: Rows) -> Quantized:
        one = g.constant(1, np.float32)
        codes = g.op("QuantizeLinear", x.value, one, g.constant(self._ZERO, np.uint8))
        return Quantized(codes, one, self._ZERO, static=True)

    def _by_row(self, g: GraphBuilder, x: Rows, zero: int) -> Quantized:
        scale = self._row_scales(g, x, zero)
        flat = g.op("Reshape", scale, g.constant([-1], np.int64))
        zeros = g.shared((zero, x.number), lambda: g.op("Expand", g.constant([zero], np.uint8), x.number))
        return Quantized(g.op("QuantizeLinear", x.value, flat, zeros, axis=0), scale, zero, static=False)

    def _row_scales(self, g: GraphBuilder, x: Rows, zero: int) -> str:
        """(rows, 1): what one step of uint8 stands for in each row; 0 for a row of zeros, which gives output 0."""
        axis = g.constant([1], np.int64)
        if zero == self._GELU_ZERO:
            largest = g.op("Mul", g.op("ReduceMax", x.value, axis), g.constant(1 / (255 - zero), np.float32))
            return g.op("Max", largest, g.constant(-GELU_MINIMUM / zero, np.float32))
        largest = g.op("ReduceMax", g.op("Abs", x.value), axis)
        return g.op("Mul", largest, g.constant(1 / 127, np.float32))

    def _product(self, g: GraphBuilder, x: Quantized, columns: str, scales: str, bias: str | None) -> str:
        """uint8 rows times int8 columns, as float."""
        inputs = [x.codes, columns, x.scale, scales, g.constant(x.zero, np.uint8)]
        if bias is None:
            return g.op("MatMulIntegerToFloat", *inputs)
        if x.static:
            return g.op("MatMulIntegerToFloat", *inputs, "", bias)
        # With a scale per row the operator multiplies its own bias by it as well.
        return g.op("Add", g.op("MatMulIntegerToFloat", *inputs), bias)


class StandardInt8Linear(Int8Linear):
    """The same arithmetic in standard operators, for OpenVINO.

    OpenVINO's static int8 kernels want one scale for a whole tensor. So a row is divided by its reach, its largest
    magnitude, before it is rounded, and the product is multiplied by it: static kernels, dynamic scales. The reach is a
    value of the row itself, so bf16 holds it exactly; a scale would be rounded, and not alike in every row of a batch.
    """

    def _dequantized(self, g: GraphBuilder, values: str, scale: str) -> str:
        # Not DequantizeLinear: OpenVINO would move it before the Gather and hold the table as float.
        return g.op("Mul", g.op("Cast", values, to=1), g.op("Unsqueeze", scale, g.constant([1], np.int64)))

    def _by_tensor(self, g: GraphBuilder, x: Rows) -> Quantized:
        # A factor that only the run knows, 1: OpenVINO makes constant ones part of a rounding that joins nothing.
        one = g.shared(("one", x.number), lambda: g.op("Cast", g.op("Div", x.number, x.number), to=1))
        quantized = super()._by_tensor(g, x._replace(value=g.op("Mul", x.value, one)))
        zero = g.constant(quantized.zero, np.uint8)
        return quantized._replace(codes=g.op("DequantizeLinear", quantized.codes, quantized.scale, zero))

    def _by_row(self, g: GraphBuilder, x: Rows, zero: int) -> Quantized:
        span = 255 - zero
        reach = self._row_reach(g, x, zero)
        step, offset = g.constant(1 / span, np.float32), g.constant(zero, np.uint8)
        shares = g.op("Mul", x.value, g.op("Reciprocal", reach))
        codes = g.op("DequantizeLinear", g.op("QuantizeLinear", shares, step, offset), step, offset)
        return Quantized(codes, reach, zero, static=False)

    def _row_reach(self, g: GraphBuilder, x: Rows, zero: int) -> str:
        """(rows, 1): the largest magnitude in each row, at least what the scheme needs, in numbers that bf16 has."""
        axis = g.constant([1], np.int64)
        if zero == self._GELU_ZERO:
            return g.op("Max", g.op("ReduceMax", x.value, axis), g.constant(_GELU_REACH, np.float32))
        return g.op("Max", g.op("ReduceMax", g.op("Abs", x.value), axis), g.constant(_LEAST_REACH, np.float32))

    def same(self, g: GraphBuilder, x: str, width: int) -> str:
        """x times the identity.

        Where bf16 is allowed, OpenVINO keeps float32 from each output back to the nearest matrix products. Along
        residuals and row scales that is half of the encoder, with conversions between; this product ends it.
        """
        block = math.gcd(width, 64)
        parts = g.op("Reshape", x, g.constant([-1, block], np.int64))
        product = g.op("MatMul", parts, g.constant(np.eye(block), np.float32))
        return g.op("Reshape", product, g.constant([-1, width], np.int64))

    def _product(self, g: GraphBuilder, x: Quantized, columns: str, scales: str, bias: str | None) -> str:
        y = g.op("MatMul", x.codes, g.op("DequantizeLinear", columns, scales, axis=1))
        y = y if x.static else g.op("Mul", y, x.scale)
        return y if bias is None else g.op("Add", y, bias)


def _unpacked(g: GraphBuilder, run: Digits, ids: str) -> str:
    """The columns of a run for flat ids, in steps: (number of ids, columns)."""
    meaning = run.meaning
    codes = g.op("Cast", g.op("Gather", g.weight(run.codes), ids), to=6)
    width = run.codes.shape[1] * meaning.shape[1]
    x = g.op("Gather", g.constant(meaning, np.float32), codes)
    x = g.op("Reshape", x, g.constant([-1, width], np.int64))
    if width == run.columns:
        return x
    start, end, axis = (g.constant([n], np.int64) for n in (0, run.columns, 1))
    return g.op("Slice", x, start, end, axis)


def _multiplied(g: GraphBuilder, run: Product, ids: str) -> str:
    """The columns of a product for flat ids: (number of ids, columns)."""
    if run.which is not None:
        ids = g.op("Cast", g.op("Gather", g.weight(run.which), ids), to=7)
    moved = g.op("Add", ids, g.constant(run.shift, np.int64))
    period = g.constant(len(run.left), np.int64)
    places = (run.left, g.op("Mod", moved, period)), (run.right, g.op("Div", moved, period))
    left, right = (g.op("Cast", g.op("Gather", g.weight(table), place), to=1) for table, place in places)
    return g.op("Mul", left, right)
