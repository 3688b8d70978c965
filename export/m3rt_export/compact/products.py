"""Tables of signs whose rows are products: one row of a small table times one row of another.

Only m3rt_distill makes such tables, for the senses of words.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Product(NamedTuple):
    """Two small tables that hold a large one of 1, 0 and -1, which begins with `empty` rows of zeros.

    Row i of the large table is left[j % p] * right[j // p] with j = i + p - empty. left (p, k) int8. right (m, k) int8,
    its first row zeros. which (n,): if rows repeat, this describes the table of distinct rows instead, and row i of the
    large table is its row which[i].
    """

    left: NDArray[np.int8]
    right: NDArray[np.int8]
    empty: int
    which: NDArray[np.uint16 | np.uint32] | None = None

    @property
    def shift(self) -> int:
        """The number to add to an id, so that the empty rows get the row of zeros of `right`."""
        return len(self.left) - self.empty

    def rows(self, count: int) -> NDArray[np.int8]:
        """The first `count` rows of the large table."""
        places = (np.arange(count) if self.which is None else self.which[:count].astype(np.int64)) + self.shift
        return self.left[places % len(self.left)] * self.right[places // len(self.left)]


def product(left: NDArray[np.int8], right: NDArray[np.int8], empty: int) -> Product:
    """The product of two tables of 1 and -1 after `empty` rows of zeros; `left` must have at least `empty` rows."""
    return Product(left, np.concatenate([np.zeros_like(right[:1]), right]), empty)


def factored(steps: NDArray[np.int8]) -> Product | None:
    """Factor a sign table (n, k) into two small tables: the whole table, else its distinct rows.

    None if neither factors. `left` has side(r) rows, where r counts the rows after the leading zeros.
    """
    if whole := _factored(steps):
        return whole
    first, which = numbered(steps)
    distinct = _factored(steps[first]) if len(first) < len(steps) else None
    return distinct and distinct._replace(which=which.astype(np.uint16 if len(first) <= 1 << 16 else np.uint32))


def numbered(rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The index at which each distinct row appears first, ascending, and for each row its position in that list."""
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return np.sort(first), first.argsort().argsort()[inverse.reshape(-1)]


def _factored(steps: NDArray[np.int8]) -> Product | None:
    empty = int(steps.any(axis=1).argmax())
    rows = steps[empty:]
    period = side(len(rows))
    if empty > period or not rows[0].all():
        return None
    candidate = product(rows[:period], rows[::period] * rows[0], empty)
    return candidate if np.array_equal(candidate.rows(len(steps)), steps) else None


def side(count: int) -> int:
    """The number of rows of `left` that makes both tables of `count` products smallest: the root, rounded up."""
    return max(1, math.isqrt(max(count, 1) - 1) + 1)
