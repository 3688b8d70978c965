"""MaxSim, the late-interaction score of ColBERT (arXiv:2004.12832), over ragged documents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16  # rows of `vectors` scored at a time, so that the similarity matrix stays small


def maxsim(query: NDArray[np.float32], vectors: NDArray[np.float32], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean over query tokens of the max over each document's tokens of the dot product.

    query (nq, dim), vectors (total, dim), offsets (n + 1,): document i owns rows offsets[i]:offsets[i + 1].
    Returns a fresh (n,) float32. A document or query without tokens scores 0.
    Raises ValueError when shapes do not fit.

    >>> maxsim(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), np.array([0, 1, 2])).tolist()
    [0.5, 0.5]
    """
    if query.ndim != 2 or vectors.ndim != 2 or query.shape[1] != vectors.shape[1]:
        raise ValueError(f"query is {query.shape} and vectors {vectors.shape}, expected (nq, dim), (total, dim)")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(vectors) or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must rise from 0 to {len(vectors)}, the rows of vectors")
    scores = np.zeros(len(offsets) - 1, np.float32)
    if not len(query):
        return scores
    first = 0
    while first < len(scores):  # whole documents, about _BLOCK rows
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _BLOCK, side="right")) - 1)
        filled = first + np.flatnonzero(np.diff(offsets[first : last + 1]))
        if len(filled):
            similarity = query @ vectors[offsets[first] : offsets[last]].T
            best = np.maximum.reduceat(similarity, offsets[filled] - offsets[first], axis=1)
            scores[filled] = best.mean(axis=0, dtype=np.float32)
        first = last
    return scores
