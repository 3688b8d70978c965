"""Paired bootstrap: how sure a difference between two rankings of the same queries is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 10_000
_LEVEL = 0.95
_AT_A_TIME = 1 << 22  # queries drawn


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and its 95% interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def difference(
    ones: Sequence[NDArray[np.float64]], others: Sequence[NDArray[np.float64]], *, seed: int = 0
) -> Difference:
    """The mean over data sets of the mean of one - other, values (queries,) of the same queries in each data set.

    Queries are drawn with replacement within each data set, ten thousand times; the interval is of percentiles
    (Sakai, SIGIR 2006).
    """
    random = np.random.default_rng(seed)
    gaps = [one - other for one, other in zip(ones, others, strict=True)]
    samples = np.mean([_means(gap, random) for gap in gaps], axis=0)
    low, high = np.quantile(samples, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Difference(float(np.mean([gap.mean() for gap in gaps])), float(low), float(high))


def _means(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Means of resampled values, (_SAMPLES,)."""
    rows = max(1, _AT_A_TIME // len(values))
    parts = [
        values[random.integers(0, len(values), (min(rows, _SAMPLES - first), len(values)))].mean(axis=1)
        for first in range(0, _SAMPLES, rows)
    ]
    return np.concatenate(parts)
