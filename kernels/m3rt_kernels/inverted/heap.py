"""A heap of the k best documents, for kernels: a new document must beat its root; ties go to the lower document."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiler.jit import jit


@jit
def worse(score, doc, other_score, other_doc):  # type: ignore[no-untyped-def]
    """Return whether the first pair ranks behind the second."""
    return score < other_score or (score == other_score and doc > other_doc)


@jit
def push(scores: NDArray[np.float32], docs: NDArray[np.int64], size: int, score: np.float32, doc: int) -> int:
    """Offer a pair to a heap that holds `size` of at most len(scores) pairs, and return its new size."""
    if size < len(scores):
        i = size
        while i > 0 and worse(score, doc, scores[(i - 1) >> 1], docs[(i - 1) >> 1]):
            scores[i], docs[i] = scores[(i - 1) >> 1], docs[(i - 1) >> 1]
            i = (i - 1) >> 1
        scores[i], docs[i] = score, doc
        return size + 1
    if not worse(scores[0], docs[0], score, doc):
        return size
    i, child = 0, 1
    while child < size:
        if child + 1 < size and worse(scores[child + 1], docs[child + 1], scores[child], docs[child]):
            child += 1
        if not worse(scores[child], docs[child], score, doc):
            break
        scores[i], docs[i] = scores[child], docs[child]
        i, child = child, 2 * child + 1
    scores[i], docs[i] = score, doc
    return size


def ranked(scores: NDArray[np.float32], docs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Order pairs: return docs and scores, best first, ties by the lower doc."""
    order = np.lexsort((docs, -scores))
    return docs[order], scores[order]
