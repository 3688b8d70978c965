"""4-bit weights: blocks of neighbours in a row share a scale and a zero, and rounding makes up for its own errors.

The rounding is GPTQ's (arXiv:2210.17323): column after column is rounded, and the columns that follow take over its
error as far as their inputs go together on calibration texts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_MAX_CODE = 15
_SHARES = np.linspace(1, 0.72, 8, dtype=np.float32)  # of a block's range; the best one is taken
_MIN_SCALE = np.float32(2.0**-14)  # float16's smallest normal number
_MAX_SCALE = np.float32(65504)  # float16's largest
_DAMPING = 0.05  # of the mean of the moments' diagonal: there are fewer calibration tokens than channels


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
    rest: Array = np.zeros((count * block, n), np.float32)  # a column of the weight in a row, next to each other
    rest[:k] = weight.T
    spread = None if moments is None else _spread(moments, len(rest))
    codes = np.empty((n, count, block), np.uint8)
    scales, zeros = np.empty((n, count), np.float16), np.empty((n, count), np.uint8)
    for b in range(count):
        begin, end = b * block, (b + 1) * block
        scales[:, b], zeros[:, b] = _best_range(rest[begin:end].T)
        scale, zero = scales[:, b].astype(np.float32), zeros[:, b].astype(np.float32)
        if spread is None:
            codes[:, b] = _codes(rest[begin:end].T, scale[:, None], zero[:, None])
            continue
        errors = np.empty((block, n), np.float32)
        for j, at in enumerate(range(begin, end)):
            codes[:, b, j] = _codes(rest[at], scale, zero)
            errors[j] = (rest[at] - (codes[:, b, j] - zero) * scale) / spread[at, at]
            rest[at + 1 : end] -= spread[at, at + 1 : end, None] * errors[j]
        rest[end:] -= spread[begin:end, end:].T @ errors
    return Blocks(codes, scales, zeros)


def packed_pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two codes in a byte along the last axis, the first one in the low bits; an odd last one stands alone."""
    even = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    return np.asarray(even[..., 0::2] | even[..., 1::2] << 4, np.uint8)


def _spread(moments: Array, size: int) -> Array:
    """How the error of a column is spread over those after it: the upper Cholesky factor of the inverse moments.

    With the order of columns reversed it is the inverse of the moments' own factor, which costs less.
    """
    full = np.zeros((size, size), np.float64)
    full[: len(moments), : len(moments)] = moments
    mean = max(float(np.diag(moments).mean()), 1e-12)
    full[np.diag_indices(size)] += _DAMPING * mean
    factor = np.linalg.cholesky(full[::-1, ::-1]).astype(np.float32)
    return np.ascontiguousarray(np.linalg.inv(factor)[::-1, ::-1])


def _best_range(block: Array) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """The scale and the zero of each row (n, block) with the least squared error."""
    low, high = np.minimum(block.min(axis=1), 0), np.maximum(block.max(axis=1), 0)
    best = np.full(len(block), np.inf, np.float32)
    scales, zeros = np.ones(len(block), np.float16), np.zeros(len(block), np.uint8)
    for share in _SHARES:
        scale = np.clip((high - low) * share / _MAX_CODE, _MIN_SCALE, _MAX_SCALE).astype(np.float16)
        step = scale.astype(np.float32)
        zero = np.clip(np.rint(-low * share / step), 0, _MAX_CODE)
        rounded = (_codes(block, step[:, None], zero[:, None]) - zero[:, None]) * step[:, None]
        error = np.square(rounded - block).sum(axis=1)
        better = error < best
        best[better], scales[better], zeros[better] = error[better], scale[better], zero[better]
    return scales, zeros


def _codes(values: Array, scale: Array, zero: Array) -> NDArray[np.uint8]:
    codes: NDArray[np.uint8] = np.clip(np.rint(values / scale) + zero, 0, _MAX_CODE).astype(np.uint8)
    return codes
