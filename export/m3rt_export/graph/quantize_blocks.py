"""4-bit weights: blocks of neighbours in a row share a scale and a zero, and rounding makes up for its own errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compensation import round_in_turn

Array = NDArray[np.float32]
_MAX_CODE = 15
_SHARES = np.linspace(1.1, 0.65, 10, dtype=np.float32)  # of a block's range; the best one is taken
_MIN_SCALE = np.float32(2.0**-14)  # float16's smallest normal number
_MAX_SCALE = np.float32(65504)  # float16's largest


class Blocks(NamedTuple):
    """A matrix (n, k) in blocks: about (codes - zeros) * scales.

    codes (n, b, block) uint8 below 16; scales (n, b) float16; zeros (n, b) uint8 below 16. b = k / block, rounded up.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    zeros: NDArray[np.uint8]

    def values(self) -> Array:
        """The matrix that the blocks stand for, (n, b * block)."""
        steps = self.codes.astype(np.float32) - self.zeros[..., None]
        product: Array = steps * self.scales[..., None].astype(np.float32)
        return product.reshape(len(product), -1)


def quantize_blocks(weight: Array, block: int, moments: Array | None = None) -> Blocks:
    """Round a matrix (n, k). moments (k, k): mean products of its inputs; None rounds each weight to the nearest."""
    n, k = weight.shape
    count = -(-k // block)
    rounder = _BlockRounder(n, count, block)
    columns: Array = np.zeros((count * block, n), np.float32)
    columns[:k] = weight.T
    if moments is None:
        alike: Array = np.ones(block, np.float32)
        for begin in range(0, len(columns), block):
            rounder.start(begin, columns[begin : begin + block], alike)
            rounder.round_block(begin, columns[begin : begin + block])
    else:
        added = len(columns) - k
        round_in_turn(columns, np.pad(moments, (0, added)), block, rounder)
    return Blocks(rounder.codes, rounder.scales, rounder.zeros)


class _BlockRounder:
    """The codes of a matrix, whose blocks get their range when rounding reaches them."""

    def __init__(self, n: int, count: int, block: int) -> None:
        self.codes = np.empty((n, count, block), np.uint8)
        self.scales, self.zeros = np.empty((n, count), np.float16), np.empty((n, count), np.uint8)
        self._block = block

    def start(self, begin: int, block: Array, costs: Array) -> None:
        b = begin // self._block
        self.scales[:, b], self.zeros[:, b] = _best_range(block.T, costs)
        self._scale, self._zero = self.scales[:, b].astype(np.float32), self.zeros[:, b].astype(np.float32)

    def round(self, at: int, column: Array) -> Array:
        codes = _codes(column, self._scale, self._zero)
        self.codes[:, at // self._block, at % self._block] = codes
        return (codes - self._zero) * self._scale

    def round_block(self, begin: int, block: Array) -> None:
        """Round each weight of a block (columns, n) to the nearest."""
        self.codes[:, begin // self._block] = _codes(block.T, self._scale[:, None], self._zero[:, None])


def packed_pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two codes in a byte along the last axis, the first one in the low bits; an odd last one stands alone."""
    even = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    return np.asarray(even[..., 0::2] | even[..., 1::2] << 4, np.uint8)


def _best_range(block: Array, costs: Array) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """The scale and the zero of each row (n, block) with the least squared error, columns counted by their costs."""
    low, high = np.minimum(block.min(axis=1), 0), np.maximum(block.max(axis=1), 0)
    best = np.full(len(block), np.inf, np.float32)
    scales, zeros = np.ones(len(block), np.float16), np.zeros(len(block), np.uint8)
    for share in _SHARES:
        scale = np.clip((high - low) * share / _MAX_CODE, _MIN_SCALE, _MAX_SCALE).astype(np.float16)
        step = scale.astype(np.float32)
        zero = np.clip(np.rint(-low * share / step), 0, _MAX_CODE)
        rounded = (_codes(block, step[:, None], zero[:, None]) - zero[:, None]) * step[:, None]
        error = np.square(rounded - block) @ costs
        better = error < best
        best[better], scales[better], zeros[better] = error[better], scale[better], zero[better]
    return scales, zeros


def _codes(values: Array, scale: Array, zero: Array) -> NDArray[np.uint8]:
    codes: NDArray[np.uint8] = np.clip(np.rint(values / scale) + zero, 0, _MAX_CODE).astype(np.uint8)
    return codes
