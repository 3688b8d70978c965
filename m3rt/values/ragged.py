"""Ragged rows: the items of all rows in one flat array, and the offsets at which each row begins."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def offsets_of(lengths: Iterable[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """The offsets (n + 1,) of n rows with these lengths, fresh: row i is items offsets[i]:offsets[i + 1]."""
    counts = np.asarray(lengths if isinstance(lengths, np.ndarray) else [*lengths], np.int64)
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
