"""MaxSim in numpy, the twin of native.py: it runs where kernels are not compiled, and their scores must equal its."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_TOKENS_AT_A_TIME = 1 << 12  # document tokens that are multiplied at a time

Rows = Callable[[slice], NDArray[np.float32]]


def best_matches(
    query: NDArray[np.float32], rows: Rows, scales: NDArray[np.float32] | None, start: int, end: int
) -> NDArray[np.float32]:
    """Return (tokens,): the largest product, NaN left out, of each row of query (tokens, dim) with rows start:end."""
    best = np.full(len(query), -np.inf, np.float32)
    for first in range(start, end, _TOKENS_AT_A_TIME):
        part = slice(first, min(end, first + _TOKENS_AT_A_TIME))
        similarity = query @ rows(part).T
        if scales is not None:
            similarity *= scales[part]
        np.fmax(best, np.fmax.reduce(similarity, axis=1), out=best)
    return best


def score(
    query: NDArray[np.float32],
    factors: NDArray[np.float64],
    segments: NDArray[np.int64],
    rows: Rows,
    scales: NDArray[np.float32] | None,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Add to out (queries, documents), for each document, the best match of each query token times its factor.

    query (tokens, dim), factors and segments (tokens,): a token counts for query segments[token]. rows(slice) gives
    document tokens as float32 (k, dim), which scales (total,) multiply; document i owns starts[i]:ends[i].
    """
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if start < end:
            best = best_matches(query, rows, scales, start, end)
            out[:, i] += np.bincount(segments, best * factors, minlength=len(out))
