"""Several rankings into one: reciprocal rank fusion and weighted sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Ranking = tuple[NDArray[np.int64], NDArray[np.float64]]


def rrf(rankings: Sequence[NDArray[np.int64]], *, k: float = 60, weights: Sequence[float] | None = None) -> Ranking:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): the sum of weight / (k + rank), rank from 1.

    rankings: int64 id arrays, best first, each id once; weights: one for each ranking, >= 0, 1 when left out.
    Returns fresh ids (n,) int64 and scores (n,) float64 of all ids, best first, ties by the lower id.
    Raises ValueError for repeated ids, k < 0 or weights that do not fit.

    >>> rrf([np.array([7, 9]), np.array([9])])[0].tolist()
    [9, 7]
    """
    if not np.isfinite(k) or k < 0:
        raise ValueError(f"k is {k!r}, expected a finite number >= 0")
    shares = [1 / (k + np.arange(1, len(ids) + 1)) for ids in rankings]
    return _sums(list(rankings), shares, _weights(weights, len(rankings)))


def weighted_fusion(
    rankings: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]],
    weights: Sequence[float] | None = None,
    *,
    normalize: str = "none",
) -> Ranking:
    """The weighted sum of scores; an id that a ranking lacks adds nothing there.

    rankings: pairs of int64 ids, each once, and their finite scores; weights: one for each ranking, >= 0, 1 when left
    out. normalize: "none" is FlagEmbedding's sum (it divides by the sum of weights, which leaves the order alone);
    "min-max" brings each ranking to 0..1 first (Wang et al., ICTIR 2021), a ranking of equal scores to 1.
    Returns fresh ids (n,) int64 and scores (n,) float64 of all ids, best first, ties by the lower id.
    Raises ValueError for repeated ids, scores that are not finite, an unknown normalize, weights that do not fit.

    >>> weighted_fusion([(np.array([7, 9]), np.array([.5, .4])), (np.array([9]), np.array([.2]))])[0].tolist()
    [9, 7]
    """
    if normalize not in _NORMALIZE:
        raise ValueError(f"normalize is {normalize!r}, expected one of {', '.join(_NORMALIZE)}")
    scores = [np.asarray(found, np.float64) for _, found in rankings]
    for i, found in enumerate(scores):
        if not np.isfinite(found).all():
            raise ValueError(f"scores of ranking {i} hold NaN or infinity, expected finite numbers")
    normalized = [_NORMALIZE[normalize](found) if len(found) else found for found in scores]
    return _sums([ids for ids, _ in rankings], normalized, _weights(weights, len(rankings)))


def _min_max(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


_NORMALIZE: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {"none": np.copy, "min-max": _min_max}


def _weights(weights: Sequence[float] | None, n: int) -> list[float]:
    found = [1.0] * n if weights is None else [float(w) for w in weights]
    if len(found) != n or not np.isfinite(found).all() or min(found, default=0) < 0:
        raise ValueError(f"weights are {found}, expected {n} finite numbers >= 0")
    return found


def _sums(rankings: list[NDArray[np.int64]], shares: list[NDArray[np.float64]], weights: list[float]) -> Ranking:
    for i, (ids, share) in enumerate(zip(rankings, shares, strict=True)):
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or ids.shape != share.shape:
            raise ValueError(
                f"ranking {i} is {ids.dtype} {ids.shape} with {share.shape} scores, expected (n,) int64 each"
            )
        if len(np.unique(ids)) != len(ids):
            raise ValueError(f"ranking {i} repeats an id, expected each once")
    ids, places = np.unique(np.concatenate([np.zeros(0, np.int64), *rankings]), return_inverse=True)
    added = [share * weight for share, weight in zip(shares, weights, strict=True)]
    sums = np.bincount(places, np.concatenate([np.zeros(0), *added]), len(ids)).astype(np.float64)
    order = np.lexsort((ids, -sums))
    return ids[order], sums[order]
