"""Columns of signs that two small tables hold: each row of the large one is the product of a row of either."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Product(NamedTuple):
    """Rows of 1, 0 and -1, `empty` rows of zeros first.

    Row i is left[j % p] * right[j // p], j = i + p - empty. left (p, k) int8. right (m, k) int8, its first row zeros.
    which (n,): where rows are used more than once, the row that each row of the large table is.
    """

    left: NDArray[np.int8]
    right: NDArray[np.int8]
    empty: int
    which: NDArray[np.uint16 | np.uint32] | None = None

    @property
    def shift(self) -> int:
        """What an id is raised by, so that the empty rows fall on the zeros of `right`."""
        return len(self.left) - self.empty

    def rows(self, count: int) -> NDArray[np.int8]:
        """The first `count` rows of the large table."""
        places = (np.arange(count) if self.which is None else self.which[:count].astype(np.int64)) + self.shift
        return self.left[places % len(self.left)] * self.right[places // len(self.left)]


def product(left: NDArray[np.int8], right: NDArray[np.int8], empty: int) -> Product:
    """The product of two tables of 1 and -1, after `empty` rows of zeros, at most as many as `left` has."""
    return Product(left, np.concatenate([np.zeros_like(right[:1]), right]), empty)


def factored(steps: NDArray[np.int8]) -> Product | None:
    """The product that a table (n, k) of 1, 0 and -1 is, or its different rows are; None if it is none.

    `left` has side(n) rows, n counting those that are not zeros.
    """
    if found := _factored(steps):
        return found
    first, which = numbered(steps)
    found = _factored(steps[first]) if len(first) < len(steps) else None
    return found and found._replace(which=which.astype(np.uint16 if len(first) <= 1 << 16 else np.uint32))


def numbered(rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each different row is for the first time, in that order, and each row's number in it."""
    _, first, found = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return np.sort(first), first.argsort().argsort()[found.reshape(-1)]


def _factored(steps: NDArray[np.int8]) -> Product | None:
    empty = int(steps.any(axis=1).argmax())
    rows = steps[empty:]
    period = side(len(rows))
    if empty > period or not rows[0].all():
        return None
    found = product(rows[:period], rows[::period] * rows[0], empty)
    return found if np.array_equal(found.rows(len(steps)), steps) else None


def side(count: int) -> int:
    """Rows of `left` with which two tables of `count` products are smallest together: the root, rounded up."""
    return max(1, math.isqrt(max(count, 1) - 1) + 1)
