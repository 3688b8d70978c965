"""Rounding that makes up for its own errors, for codes of any width: GPTQ (arXiv:2210.17323) as LDLQ (2307.13304).

Column after column of a matrix is rounded, and each takes over the errors of those before it, as far as their inputs go
together on calibration texts.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_DAMPING = 0.2  # of the mean of the moments' diagonal: there are fewer calibration tokens than channels
_MAX_TOGETHER = 1024  # channels whose errors make up for each other: beyond, time grows faster than fidelity


class Rounder(Protocol):
    """Rounds the columns of a matrix in turn and keeps their codes."""

    def start(self, begin: int, block: Array, costs: Array) -> None:
        """Hear of the block (columns, n) that starts at column `begin`, with the errors that it has taken over.

        costs (columns,): of a squared error in each column, after later columns have made up for it.
        """

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
    """Round a matrix, transposed to (k, n). moments (k, k): mean products of its inputs.

    A block of columns takes over the errors before it in one product. Groups of at most 1024 channels are independent
    of each other.
    """
    for first in range(0, len(columns), _MAX_TOGETHER):
        group = columns[first : first + _MAX_TOGETHER]
        shares, costs = _shares(moments[first : first + len(group), first : first + len(group)])
        errors = np.empty_like(group)
        for begin in range(0, len(group), block):
            end = min(begin + block, len(group))
            wanted = group[begin:end] + shares[begin:end, :begin] @ errors[:begin]
            rounder.start(first + begin, wanted, costs[begin:end])
            for at in range(begin, end):
                column = wanted[at - begin] + shares[at, begin:at] @ errors[begin:at]
                errors[at] = group[at] - rounder.round(first + at, column)


def _shares(moments: Array) -> tuple[Array, Array]:
    """How much of the error of each earlier column a column (row of the result) takes over, and the columns' costs.

    The damped moments are S.T @ diag(costs) @ S with S = I + shares: Cholesky's factor, from the last column on.
    """
    damped = moments.copy()
    damped[np.diag_indices(len(damped))] += _DAMPING * max(float(np.diag(moments).mean()), 1e-12)
    factor = np.linalg.cholesky(damped[::-1, ::-1])
    diagonal = np.diag(factor)
    return np.ascontiguousarray((factor / diagonal).T[::-1, ::-1]), np.square(diagonal[::-1])
