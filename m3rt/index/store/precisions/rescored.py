"""Two precisions together: the coarse one chooses rows, the fine one ranks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..rows import RowMask, ScoredRows
from .base import Stored, StoredArray, TokenPrecision, best

CHOSEN_ROWS = 8  # rows that the coarse precision chooses for each row that is returned


class Rescored:
    """A TokenPrecision with the arrays of both, about as fast as `coarse` and about as exact as `fine`."""

    def __init__(self, coarse: TokenPrecision, fine: TokenPrecision) -> None:
        self._coarse = coarse
        self._fine = fine

    @property
    def arrays(self) -> Mapping[str, StoredArray]:
        return {**self._coarse.arrays, **self._fine.arrays}

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return {**self._coarse.encode(vectors), **self._fine.encode(vectors)}

    def decode(self, stored: Stored, places: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._fine.decode(stored, places)

    def find(
        self, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None
    ) -> ScoredRows:
        rows, _ = self._coarse.find(stored, query, k * CHOSEN_ROWS, mask, threads)
        return best(rows, self.score(stored, query, rows), k)

    def score(self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._fine.score(stored, query, rows)

    def find_maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], k: int, threads: int | None
    ) -> ScoredRows:
        chosen, _ = self._coarse.find_maxsim(stored, query, rows, k * CHOSEN_ROWS, threads)
        return best(chosen, self.maxsim(stored, query, chosen, threads), k)

    def maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], threads: int | None
    ) -> NDArray[np.float32]:
        return self._fine.maxsim(stored, query, rows, threads)
