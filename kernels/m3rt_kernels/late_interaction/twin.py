"""MaxSim in numpy: what the compiled kernels must equal, and what runs where they cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_ROWS = 1 << 12  # document tokens multiplied at a time

Rows = Callable[[slice], NDArray[np.float32]]


def best_matches(
    query: NDArray[np.float32], rows: Rows, scales: NDArray[np.float32] | None, start: int, end: int
) -> NDArray[np.float32]:
    """(tokens,) the largest product of each token of query (tokens, dim) with rows start..end - 1, but for NaN."""
    best = np.full(len(query), -np.inf, np.float32)
    for first in range(start, end, _ROWS):
        part = slice(first, min(end, first + _ROWS))
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
