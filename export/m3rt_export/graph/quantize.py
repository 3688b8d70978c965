"""int8 weights: symmetric rounding by column or row, and SmoothQuant's channel factors.

x86 CPUs without VNNI multiply u8 activations with s8 weights by vpmaddubsw, which adds the products of two neighbours
in 16 bits and saturates (MLAS and oneDNN pack neighbours 2i and 2i + 1 of a column together). So the scale of a column
keeps every such pair within 128: 255 * 128 < 2**15, and the same weights give the same products on every CPU.
Rounding that makes up for its own errors (compensation.py) moves weights, so it also cuts a code that would break this.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .compensation import round_in_turn

_MIN_MAGNITUDE = np.finfo(np.float32).tiny * 128  # of a row's largest weight, whose scale is still a normal number
_MAX_CODE = 127
_PAIR_LIMIT = 128  # the largest |a| + |b| of two neighbours in a column
_COLUMNS_AT_A_TIME = 64  # share their errors at once; even, so that no pair is parted
_ROWS_AT_A_TIME = 8192  # quantize_rows converts no more at once, so that its float copies stay small


def quantize_columns(
    weight: NDArray[np.float32], moments: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """weight (n, k) as fresh (k, n) int8 and scales (n,): weight.T is about int8 * scales.

    moments (k, k): mean products of the inputs; None rounds each weight to the nearest. Neighbours 2i and 2i + 1 of a
    column add to at most 128 in magnitude.
    """
    scales = np.maximum(_scales(weight), _pair_sums(weight).max(axis=1) / np.float32(_PAIR_LIMIT))
    if moments is None:
        return np.ascontiguousarray(_rounded(weight, scales).T), scales
    rounder = _PairRounder(weight.shape[1], scales)
    round_in_turn(np.ascontiguousarray(weight.T), moments, _COLUMNS_AT_A_TIME, rounder)
    return rounder.codes, scales


class _PairRounder:
    """The codes (k, n) of a matrix, each pair of neighbours within the limit."""

    def __init__(self, k: int, scales: NDArray[np.float32]) -> None:
        self.codes = np.empty((k, len(scales)), np.int8)
        self._scales = scales

    def start(self, begin: int, block: NDArray[np.float32], costs: NDArray[np.float32]) -> None:
        pass  # the scales hold for all blocks

    def round(self, at: int, column: NDArray[np.float32]) -> NDArray[np.float32]:
        before = self.codes[at - 1].astype(np.float32) if at % 2 else np.float32(0)  # the neighbour
        limit = np.minimum(_PAIR_LIMIT - np.abs(before), _MAX_CODE)
        steps: NDArray[np.float32] = np.clip(np.rint(column / self._scales), -limit, limit)
        self.codes[at] = steps
        return steps * self._scales


def quantize_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """table (n, k) as fresh (n, k) int8 and scales (n,): table is about int8 * scales[:, None]."""
    quantized = np.empty(table.shape, np.int8)
    scales = np.empty(len(table), np.float32)
    for start in range(0, len(table), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        block = np.asarray(table[part], np.float32)
        scales[part] = _scales(block)
        quantized[part] = _rounded(block, scales[part])
    return quantized, scales


def smoothing(absmax: NDArray[np.float32], weights: Sequence[NDArray[np.float32]], alpha: float) -> NDArray[np.float32]:
    """SmoothQuant's factor for each input channel (k,), with geometric mean 1: divide x by it, multiply weights by it.

    absmax (k,): largest magnitude of each channel of x. weights: the (n, k) matrices that read x. alpha: the share of
    the range that moves into the weights.
    """
    largest = np.maximum.reduce([np.abs(w).max(axis=0) for w in weights])
    factors = np.maximum(absmax, 1e-5) ** alpha / np.maximum(largest, 1e-5) ** (1 - alpha)
    factors = np.clip(factors / np.exp(np.log(factors).mean()), 1e-2, 1e2)
    return np.asarray(factors, np.float32)


def _scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    # A row of zeros, or of numbers so small that a scale would round to 0, gets scale 1 and codes 0: nothing is ever
    # divided by zero.
    largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
    return np.where(largest > _MIN_MAGNITUDE, largest / _MAX_CODE, 1).astype(np.float32)


def _pair_sums(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """|a| + |b| of the neighbours 2i and 2i + 1 in each row; a last one without neighbour stands alone."""
    sums = np.abs(rows[:, 0::2])
    sums[:, : rows.shape[1] // 2] += np.abs(rows[:, 1::2])
    return sums


def _rounded(rows: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    scaled = rows / scales[:, None]
    return np.asarray(np.rint(scaled, out=scaled), np.int8)
