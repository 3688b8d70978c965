"""Length-bucketed batches under a token budget: which texts run together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# One forward pass costs about as much as this many more tokens (weights are read once a pass), so a batch may
# waste that much padding before a pass of its own is cheaper. Measured in benchmarks/LOG.md.
PASS_TOKENS = 24


def plan(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Split n texts of `lengths` (n,) into batches of indices, longest first.

    A batch of b texts costs b * (its longest length) padded tokens: at most `budget`, unless it is one text.
    Texts run with their likes in length, so that padding stays below PASS_TOKENS tokens a batch.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        group = lengths[order[start : start + max(1, budget // max(1, longest))]]
        waste = np.cumsum(longest - group)
        size = max(1, int(np.searchsorted(waste, PASS_TOKENS, side="right")))
        yield order[start : start + size]
        start += size
