"""Several rankings into one: reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ranking = tuple[NDArray[np.int64], NDArray[np.float64]]


def rrf(rankings: Sequence[NDArray[np.int64]], *, k: float = 60, weights: Sequence[float] | None = None) -> Ranking:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): the sum of weight / (k + rank), rank from 1.

    rankings: int64 id arrays, best first, each id once; weights: one for each ranking, >= 0; each is 1 when they
    are left out.
    Returns fresh ids (n,) int64 and scores (n,) float64 of all ids, best first; ties are ordered by id.
    Raises ValueError for repeated ids, k < 0 or weights that do not fit.

    >>> rrf([np.array([7, 9]), np.array([9])])[0].tolist()
    [9, 7]
    """
    if not np.isfinite(k) or k < 0:
        raise ValueError(f"k is {k!r}, expected a finite number >= 0")
    checked = [_check_ranking(i, ids) for i, ids in enumerate(rankings)]
    shares = [
        weight * (1 / (k + np.arange(1, len(ids) + 1)))
        for ids, weight in zip(checked, _check_weights(weights, len(rankings)), strict=True)
    ]
    ids, places = np.unique(np.concatenate([np.zeros(0, np.int64), *checked]), return_inverse=True)
    sums = np.bincount(places, np.concatenate([np.zeros(0), *shares]), len(ids)).astype(np.float64)
    order = np.lexsort((ids, -sums))
    return ids[order], sums[order]


def _check_ranking(number: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"ranking {number} is {ids.dtype} {ids.shape}, expected int64 ids (n,)")
    if len(np.unique(ids)) != len(ids):
        raise ValueError(f"ranking {number} repeats an id, expected each once")
    return ids


def _check_weights(weights: Sequence[float] | None, n: int) -> list[float]:
    checked = [1.0] * n if weights is None else [float(w) for w in weights]
    if len(checked) != n or not np.isfinite(checked).all() or min(checked, default=0) < 0:
        raise ValueError(f"weights are {checked}, expected {n} finite numbers >= 0")
    return checked
