"""Dense vectors beside which every large segment has signs; segments from before have bits instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..rows import RowMask, ScoredRows
from .base import Precision, Stored, StoredArray
from .binary import BITS


class Signed:
    """A Precision that stores `fine`; where a segment also has bits, `rescored` is how it has always been searched.

    Bits are signs of the vectors as they are, and say little where all vectors point one way. ../signs.py makes signs
    around the mean, so new segments have no bits.
    """

    def __init__(self, fine: Precision, rescored: Precision) -> None:
        self._fine = fine
        self._rescored = rescored

    @property
    def arrays(self) -> Mapping[str, StoredArray]:
        return self._fine.arrays

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return self._fine.encode(vectors)

    def decode(self, stored: Stored, places: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._fine.decode(stored, places)

    def find(
        self, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None
    ) -> ScoredRows:
        precision = self._rescored if BITS in stored else self._fine
        return precision.find(stored, query, k, mask, threads)

    def score(self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._fine.score(stored, query, rows)
