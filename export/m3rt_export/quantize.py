"""int8 weights: symmetric rounding by column or row, and SmoothQuant's channel factors; tables of four bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FOUR_BIT_ZERO = 8  # the code of zero, which is kept: an empty row stays empty
_REACH = 7
_CLIPS = np.linspace(1, 0.4, 13, dtype=np.float32)  # shares of a column's largest magnitude that are tried
_EXACT = 1e-3  # of a step: what float32 leaves of a value on its grid
_TINY = np.float32(1e-30)
_ALPHA = 0.5  # share of the activations' range that moves into the weights; .4 to .6 measured alike


def quantize_columns(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """weight (n, k) as fresh (k, n) int8 and scales (n,): weight.T is about int8 * scales."""
    scales = _scales(weight)
    return np.ascontiguousarray(_rounded(weight, scales).T), scales


def quantize_rows(table: NDArray[np.float32], rows: int = 8192) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """table (n, k) as fresh (n, k) int8 and scales (n,), `rows` at a time to keep memory low."""
    quantized = np.empty(table.shape, np.int8)
    scales = np.empty(len(table), np.float32)
    for start in range(0, len(table), rows):
        part = slice(start, start + rows)
        block = np.asarray(table[part], np.float32)
        scales[part] = _scales(block)
        quantized[part] = _rounded(block, scales[part])
    return quantized, scales


class FourBits(NamedTuple):
    """A table (n, k) in four bits: column j is its codes less FOUR_BIT_ZERO, times step (k,).

    codes (n, k / 2): column j in the lower four bits, column j + k / 2 in the upper ones.
    """

    codes: NDArray[np.uint8]
    step: NDArray[np.float32]


def on_grid(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """The table (n, k), every column rounded to -7 to 7 steps of its own, of the least squared error: see four_bits."""
    rounded = np.empty_like(table)
    for j, column in enumerate(table.T):
        steps = _CLIPS * max(np.abs(column).max(), _TINY) / _REACH
        grids = [np.clip(np.rint(column / step), -_REACH, _REACH) * step for step in steps]
        rounded[:, j] = min(grids, key=lambda grid: float(np.square(grid - column).sum()))
    return rounded


def four_bits(table: NDArray[np.float32]) -> FourBits | None:
    """The table (n, k) in four bits if that changes nothing, None if any column has other values or k is odd."""
    n, k = table.shape
    if k % 2 or len(np.unique(table[:, 0])) > 2 * _REACH + 1:
        return None
    step = np.maximum(np.abs(table).max(axis=0), _TINY) / np.float32(_REACH)
    codes = np.empty((n, k), np.uint8)
    for j, column in enumerate(table.T):
        levels = np.rint(column / step[j])
        if np.abs(column / step[j] - levels).max() > _EXACT:
            return None
        codes[:, j] = levels + FOUR_BIT_ZERO
    return FourBits((codes[:, : k // 2] | codes[:, k // 2 :] << 4).astype(np.uint8, copy=False), step)


def smoothing(absmax: NDArray[np.float32], weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """SmoothQuant's factor of each input channel (k,), geometric mean 1; divide x by it, multiply weights by it.

    absmax (k,): largest magnitude of each channel of x; weights: the (n, k) matrices that read x.
    """
    reach = np.maximum.reduce([np.abs(w).max(axis=0) for w in weights])
    factors = np.maximum(absmax, 1e-5) ** _ALPHA / np.maximum(reach, 1e-5) ** (1 - _ALPHA)
    factors = np.clip(factors / np.exp(np.log(factors).mean()), 1e-2, 1e2)
    return np.asarray(factors, np.float32)


def _scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    # A row of zeros gets scale 1, not 0: nothing is ever divided by zero.
    largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def _rounded(rows: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    scaled = rows / scales[:, None]
    return np.asarray(np.rint(scaled, out=scaled), np.int8)
