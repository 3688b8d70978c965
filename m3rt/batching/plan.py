"""Length-bucketed batches under a token budget: which texts run together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def plan(lengths: NDArray[np.int64], budget: int, waste: int) -> Iterator[NDArray[np.int64]]:
    """Split n texts of `lengths` (n,) into batches of indices, longest first.

    A batch of b texts costs b * (its longest length) padded tokens: at most `budget`, unless it is one text.
    A batch ends before its padding exceeds `waste` tokens: what a pass of its own costs, as weights are read once
    a pass.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        group = lengths[order[start : start + max(1, budget // max(1, longest))]]
        padding = np.cumsum(longest - group)
        size = max(1, int(np.searchsorted(padding, waste, side="right")))
        yield order[start : start + size]
        start += size
