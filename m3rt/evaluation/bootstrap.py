"""The paired bootstrap: an interval for the difference between two rankings of the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 10_000
_LEVEL = 0.95  # of the interval
_QUERIES_AT_A_TIME = 1 << 22  # drawn in one array


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and its 95% interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def difference(
    values: Sequence[NDArray[np.float64]], references: Sequence[NDArray[np.float64]], *, seed: int = 0
) -> Difference:
    """Compute the mean of values - references over queries, then over data sets, and its interval.

    Both hold one array (queries,) for each data set, of the same queries in the same order. Queries are drawn with
    replacement within each data set, ten thousand times; the interval is the percentiles' (Sakai, SIGIR 2006).
    """
    random = np.random.default_rng(seed)
    gaps = [value - reference for value, reference in zip(values, references, strict=True)]
    samples = np.mean([_means(gap, random) for gap in gaps], axis=0)
    low, high = np.quantile(samples, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Difference(float(np.mean([gap.mean() for gap in gaps])), float(low), float(high))


def _means(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return the mean of each of _SAMPLES resamples of the values."""
    rows = max(1, _QUERIES_AT_A_TIME // len(values))
    means = [
        values[random.integers(0, len(values), (min(rows, _SAMPLES - first), len(values)))].mean(axis=1)
        for first in range(0, _SAMPLES, rows)
    ]
    return np.concatenate(means)
