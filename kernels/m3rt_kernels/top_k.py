"""The k best of many scores, ties by the lower index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .checks import check_alive, check_array, check_k

_SAMPLED_SCORES = 1 << 14  # of many scores give a bound that the best surpass


def top_k(
    scores: NDArray[np.float32], k: int, *, alive: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return indices and scores of the k best, best first, ties by the lower index.

    scores (n,) float32; alive (n,) bool marks the indices that may be returned; None allows all. Returns fresh
    (k',) int64 and float32, k' = min(k, how many are alive). Raises ValueError for NaN, k < 1, or shapes and dtypes
    that do not fit.

    >>> top_k(np.array([1, 3, 2, 3], np.float32), 3)[0].tolist()
    [1, 3, 2]
    """
    check_array("scores", scores, np.float32, 1)
    check_k(k)
    check_alive(alive, len(scores))
    if np.isnan(scores).any():
        raise ValueError(f"scores hold NaN at index {int(np.isnan(scores).argmax())}, expected numbers")
    return best(scores, k, alive)


def best(
    scores: NDArray[np.float32], k: int, alive: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """`top_k` without checks of its arguments."""
    places = _likely(scores, k, alive)
    if places is None and alive is not None:
        places = np.flatnonzero(alive)
    allowed = scores if places is None else scores[places]
    k = min(k, len(allowed))
    if k == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    kth = np.partition(allowed, len(allowed) - k)[len(allowed) - k]
    above, equal = np.flatnonzero(allowed > kth), np.flatnonzero(allowed == kth)
    chosen = np.concatenate([above, equal[: k - len(above)]])
    chosen = chosen[np.lexsort((chosen, -allowed[chosen]))]
    return chosen if places is None else places[chosen], allowed[chosen]


def _likely(scores: NDArray[np.float32], k: int, alive: NDArray[np.bool_] | None) -> NDArray[np.int64] | None:
    """Few places that include the k best, or None. Partitioning a million scores takes longer than a scan of signs."""
    step = len(scores) // _SAMPLED_SCORES
    if step < 4:
        return None
    sample = scores[::step] if alive is None else scores[::step][alive[::step]]
    rank = 8 + 2 * k // step  # twice as many as are wanted, since a sample errs
    if rank >= len(sample):
        return None
    likely = scores >= np.partition(sample, len(sample) - rank)[len(sample) - rank]
    places = np.flatnonzero(likely if alive is None else likely & alive)
    return places if len(places) >= k else None
