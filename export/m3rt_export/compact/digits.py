"""Tables whose columns have few values, evenly spaced around zero: several columns in a byte, and nothing lost."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .products import Product, factored

_LEVELS = (3, 5, 15)  # how many values a column may have, the cheapest first: a byte holds five columns, three or two
_CLIPS = np.linspace(1, 0.4, 13, dtype=np.float32)  # shares of a column's largest magnitude that are tried
_EXACT = 1e-3  # of a step: what float32 leaves of a value on its grid
_TINY = np.float32(1e-30)
_FEW = 5  # columns of signs that fit into a byte anyway


class Digits(NamedTuple):
    """Neighbouring columns of a table of n rows, in steps: each is one of `levels` whole numbers around zero.

    codes (n, bytes): a byte's columns are its digits to base `levels`, the first one the highest.
    """

    codes: NDArray[np.uint8]
    levels: int
    columns: int

    @property
    def meaning(self) -> NDArray[np.float32]:
        """(levels ** d, d): the steps of the d columns that each byte stands for."""
        powers = _powers(self.levels)
        digits = np.arange(powers[0] * self.levels)[:, None] // powers % self.levels
        return (digits - self.levels // 2).astype(np.float32)


class Packed(NamedTuple):
    """A table (n, k): its columns, a run after the other, each times its step (k,)."""

    runs: list[Digits | Product]
    step: NDArray[np.float32]


def on_grid(table: NDArray[np.float32], reach: int = _LEVELS[-1] // 2) -> NDArray[np.float32]:
    """The table (n, k), every column rounded to -reach to reach steps of its own, of the least squared error."""
    rounded = np.empty_like(table)
    for j, column in enumerate(table.T):
        steps = _CLIPS * max(np.abs(column).max(), _TINY) / reach
        grids = [np.clip(np.rint(column / step), -reach, reach) * step for step in steps]
        rounded[:, j] = min(grids, key=lambda grid: float(np.square(grid - column).sum()))
    return rounded


def packed(table: NDArray[np.float32]) -> Packed | None:
    """The table (n, k) in digits if that changes nothing, None if any column has other values: see on_grid."""
    found = []
    for column in table.T:
        if (fit := _fit(column)) is None:
            return None
        found.append(fit)
    levels = np.array([levels for levels, _ in found])
    step = np.array([step for _, step in found], np.float32)
    runs: list[Digits | Product] = []
    start = 0
    for (count, empty), group in groupby(zip(levels.tolist(), _before_signs(table, levels).tolist(), strict=True)):
        end = start + len(list(group))
        steps = np.rint(table[:, start:end] / step[start:end]).astype(np.int8)
        crossed = factored(steps) if empty >= 0 else None
        runs.append(crossed or _run(steps, count))
        start = end
    return Packed(runs, step)


def _before_signs(table: NDArray[np.float32], levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each column of signs how many zeros come before them; -1 of others, and where few columns are alike."""
    used = table != 0
    first = used.argmax(axis=0)
    signs = (levels == 3) & np.array([column[empty:].all() for column, empty in zip(used.T, first, strict=True)])
    alike = np.bincount(first[signs], minlength=len(table)) > _FEW
    return np.where(signs & alike[first], first, -1)


def _fit(column: NDArray[np.float32]) -> tuple[int, np.float32] | None:
    """The fewest levels that hold the column, and their step."""
    largest = np.maximum(np.abs(column).max(), _TINY)
    for levels in _LEVELS:
        step = largest / np.float32(levels // 2)
        steps = column / step
        if np.abs(steps - np.rint(steps)).max() <= _EXACT:
            return levels, step
    return None


def _run(steps: NDArray[np.int8], levels: int) -> Digits:
    powers = _powers(levels)
    columns = steps.shape[1]
    digits = np.pad(steps.astype(np.int64) + levels // 2, [(0, 0), (0, -columns % len(powers))])
    codes = digits.reshape(len(steps), -1, len(powers)) @ powers
    return Digits(codes.astype(np.uint8), levels, columns)


def _powers(levels: int) -> NDArray[np.int64]:
    """Of the base, the highest first: as many digits as a byte holds."""
    count = max(d for d in range(1, 9) if levels**d <= 256)
    return levels ** np.arange(count)[::-1]
