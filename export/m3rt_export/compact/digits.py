"""Tables whose columns have few values, evenly spaced around zero: a byte holds several columns, without loss.

Only tables that m3rt_distill rounded with `on_grid` are such; `packed` returns None for any other.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .products import Product, factored

_LEVELS = (3, 5, 15)  # allowed numbers of values in a column: a byte holds five such columns, three or two
_CLIPS = np.linspace(1, 0.4, 13, dtype=np.float32)  # shares of a column's largest magnitude that `on_grid` tries
_MAX_ROUNDING_STEPS = 1e-3  # float32's rounding of a value on its grid is smaller than this share of a step
_MIN_MAGNITUDE = np.float32(1e-30)  # takes the place of the largest magnitude of a column of zeros
_SIGNS_PER_BYTE = 5  # as digits; a product of so few columns saves nothing


class Digits(NamedTuple):
    """Neighbouring columns of a table of n rows, in steps: every value is one of `levels` whole numbers around zero.

    codes (n, bytes): the columns of a byte are its digits to base `levels`, the first column the highest digit.
    """

    codes: NDArray[np.uint8]
    levels: int
    columns: int

    @property
    def meaning(self) -> NDArray[np.float32]:
        """(levels ** d, d): for each byte the steps of its d columns."""
        powers = _powers(self.levels)
        digits = np.arange(powers[0] * self.levels)[:, None] // powers % self.levels
        return (digits - self.levels // 2).astype(np.float32)


class Packed(NamedTuple):
    """A table (n, k): runs of neighbouring columns, in order; column j of them all is multiplied by step[j]."""

    runs: list[Digits | Product]
    step: NDArray[np.float32]


def on_grid(table: NDArray[np.float32], max_steps: int = _LEVELS[-1] // 2) -> NDArray[np.float32]:
    """Round each column of a table (n, k) to -max_steps to max_steps steps, with the step of least squared error."""
    rounded = np.empty_like(table)
    for j, column in enumerate(table.T):
        steps = _CLIPS * max(np.abs(column).max(), _MIN_MAGNITUDE) / max_steps
        grids = [np.clip(np.rint(column / step), -max_steps, max_steps) * step for step in steps]
        rounded[:, j] = min(grids, key=lambda grid: float(np.square(grid - column).sum()))
    return rounded


def packed(table: NDArray[np.float32]) -> Packed | None:
    """Pack the table (n, k) if that loses nothing, as after `on_grid`; None if any column has other values."""
    fits = []
    for column in table.T:
        if (fit := _fit(column)) is None:
            return None
        fits.append(fit)
    levels = np.array([levels for levels, _ in fits])
    step = np.array([step for _, step in fits], np.float32)
    runs: list[Digits | Product] = []
    start = 0
    for (base, zeros), group in groupby(zip(levels.tolist(), _leading_zeros(table, levels).tolist(), strict=True)):
        end = start + len(list(group))
        steps = np.rint(table[:, start:end] / step[start:end]).astype(np.int8)
        factors = factored(steps) if zeros >= 0 else None
        runs.append(factors or _digits(steps, base))
        start = end
    return Packed(runs, step)


def _leading_zeros(table: NDArray[np.float32], levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each column that holds only signs after leading zeros: the number of those zeros.

    -1 for any other column, and for numbers that are shared by _SIGNS_PER_BYTE columns or fewer.
    """
    used = table != 0
    first = used.argmax(axis=0)
    signs = (levels == 3) & np.array([column[zeros:].all() for column, zeros in zip(used.T, first, strict=True)])
    shared = np.bincount(first[signs], minlength=len(table)) > _SIGNS_PER_BYTE
    return np.where(signs & shared[first], first, -1)


def _fit(column: NDArray[np.float32]) -> tuple[int, np.float32] | None:
    """The smallest number of levels that can hold the column, and the step between them; None if none can."""
    largest = np.maximum(np.abs(column).max(), _MIN_MAGNITUDE)
    for levels in _LEVELS:
        step = largest / np.float32(levels // 2)
        steps = column / step
        if np.abs(steps - np.rint(steps)).max() <= _MAX_ROUNDING_STEPS:
            return levels, step
    return None


def _digits(steps: NDArray[np.int8], levels: int) -> Digits:
    powers = _powers(levels)
    columns = steps.shape[1]
    digits = np.pad(steps.astype(np.int64) + levels // 2, [(0, 0), (0, -columns % len(powers))])
    codes = digits.reshape(len(steps), -1, len(powers)) @ powers
    return Digits(codes.astype(np.uint8), levels, columns)


def _powers(levels: int) -> NDArray[np.int64]:
    """The powers of `levels` that belong to the digits of a byte, the highest first."""
    count = max(d for d in range(1, 9) if levels**d <= 256)
    return levels ** np.arange(count)[::-1]
