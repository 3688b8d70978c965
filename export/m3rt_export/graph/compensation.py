"""Rounding that makes up for its own errors, for codes of any width: GPTQ (arXiv:2210.17323).

Column after column of a matrix is rounded, and the columns that follow take over its error as far as their inputs go
together on calibration texts.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_DAMPING = 0.05  # of the mean of the moments' diagonal: there are fewer calibration tokens than channels
_MAX_TOGETHER = 1024  # channels whose errors make up for each other: beyond, time grows faster than fidelity
_SMALL = 128  # a triangle of this size is inverted at once


class Rounder(Protocol):
    """Rounds the columns of a matrix in turn and keeps their codes."""

    def start(self, begin: int, block: Array) -> None:
        """Hear of the block (columns, n) that starts at column `begin`, with the errors that it has taken over."""

    def round(self, at: int, column: Array) -> Array:
        """Round column number `at` (n,) to the numbers of its codes."""
        ...


def mean_products(rows: Array) -> Array:
    """Mean products (k, k) of the channels of `rows` (n, k); 0 for two channels that are not rounded together."""
    k = rows.shape[1]
    moments = np.zeros((k, k), np.float32)
    for first in range(0, k, _MAX_TOGETHER):
        group = rows[:, first : first + _MAX_TOGETHER]
        last = first + group.shape[1]
        moments[first:last, first:last] = group.T @ group / np.float32(len(rows))
    return moments


def round_in_turn(columns: Array, moments: Array, block: int, rounder: Rounder) -> None:
    """Round a matrix, transposed to (k, n), which is used up. moments (k, k): mean products of its inputs.

    Errors are spread within a block of columns at once and beyond it in one product. Groups of at most 1024 channels
    are independent of each other.
    """
    for first in range(0, len(columns), _MAX_TOGETHER):
        group = columns[first : first + _MAX_TOGETHER]
        spread = _spread(moments[first : first + len(group), first : first + len(group)])
        for begin in range(0, len(group), block):
            end = min(begin + block, len(group))
            rounder.start(first + begin, group[begin:end])
            errors = np.empty((end - begin, columns.shape[1]), np.float32)
            for j, at in enumerate(range(begin, end)):
                errors[j] = (group[at] - rounder.round(first + at, group[at])) / spread[at, at]
                group[at + 1 : end] -= spread[at, at + 1 : end, None] * errors[j]
            group[end:] -= spread[begin:end, end:].T @ errors


def _spread(moments: Array) -> Array:
    """How the error of a column is spread over those after it: the upper Cholesky factor of the inverse moments.

    With the order of columns reversed it is the inverse of the moments' own factor, which costs less.
    """
    damped = moments.astype(np.float64)
    damped[np.diag_indices(len(damped))] += _DAMPING * max(float(np.diag(moments).mean()), 1e-12)
    factor = np.linalg.cholesky(damped[::-1, ::-1]).astype(np.float32)
    return np.ascontiguousarray(_inverse(factor)[::-1, ::-1])


def _inverse(lower: Array) -> Array:
    """The inverse of a lower triangle, by halves: a third of the work of any matrix's."""
    if len(lower) <= _SMALL:
        return np.asarray(np.linalg.inv(lower), np.float32)
    half = len(lower) // 2
    above, below = _inverse(lower[:half, :half]), _inverse(lower[half:, half:])
    result = np.zeros_like(lower)
    result[:half, :half], result[half:, half:] = above, below
    result[half:, :half] = -below @ (lower[half:, :half] @ above)
    return result
