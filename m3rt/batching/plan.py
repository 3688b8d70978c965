"""Batches of texts of similar length, under a token budget."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def plan(lengths: NDArray[np.int64], budget: int, pass_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Split n texts of `lengths` (n,) into batches of indices, longest first.

    A batch of b texts has b * (its longest length) padded tokens: at most `budget`, unless it is one text. It ends
    before its padding exceeds `pass_tokens`, the fixed cost of one more pass (the weights are read once a pass) in
    tokens.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        group = lengths[order[start : start + max(1, budget // max(1, longest))]]
        padding = np.cumsum(longest - group)
        size = max(1, int(np.searchsorted(padding, pass_tokens, side="right")))
        yield order[start : start + size]
        start += size
