"""int8 weights: symmetric rounding by column or row, and SmoothQuant's channel factors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ALPHA = 0.5  # SmoothQuant's exponent: the share of the range that moves into the weights; .4 to .6 measured alike
_ROWS_AT_A_TIME = 8192  # quantize_rows converts no more at once, so that its float copies stay small


def quantize_columns(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """weight (n, k) as fresh (k, n) int8 and scales (n,): weight.T is about int8 * scales."""
    scales = _scales(weight)
    return np.ascontiguousarray(_rounded(weight, scales).T), scales


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


def smoothing(absmax: NDArray[np.float32], weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """SmoothQuant's factor for each input channel (k,), with geometric mean 1: divide x by it, multiply weights by it.

    absmax (k,): largest magnitude of each channel of x. weights: the (n, k) matrices that read x.
    """
    largest = np.maximum.reduce([np.abs(w).max(axis=0) for w in weights])
    factors = np.maximum(absmax, 1e-5) ** _ALPHA / np.maximum(largest, 1e-5) ** (1 - _ALPHA)
    factors = np.clip(factors / np.exp(np.log(factors).mean()), 1e-2, 1e2)
    return np.asarray(factors, np.float32)


def _scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    # A row of zeros gets scale 1, because values are divided by their scale.
    largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def _rounded(rows: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    scaled = rows / scales[:, None]
    return np.asarray(np.rint(scaled, out=scaled), np.int8)
