"""float32: vectors as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import m3rt_kernels as kernels
import numpy as np
from numpy.typing import NDArray

from ..rows import RowMask, ScoredRows
from .base import Stored, StoredArray


class Float32:
    """A Precision without loss, 4 bytes a component: too large for a vector of each token."""

    arrays: Mapping[str, StoredArray] = {"vectors": StoredArray("f4", 1)}

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return {"vectors": vectors}

    def decode(self, stored: Stored, places: NDArray[np.int64]) -> NDArray[np.float32]:
        return stored["vectors"][places]

    def find(
        self, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None
    ) -> ScoredRows:
        rows, scores = kernels.dense_top_k(query[None], stored["vectors"], k, alive=mask, threads=threads)
        return rows[0], scores[0]

    def score(self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return kernels.dense_scores(query, stored["vectors"], rows)
