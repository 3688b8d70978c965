"""int8: a code of one byte for each component, and a scale for each vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import m3rt_kernels as kernels
import numpy as np
from numpy.typing import NDArray

from ..rows import RowMask, ScoredRows
from .base import Stored, StoredArray, best


class Int8:
    """A TokenPrecision of 1 byte a component and 4 bytes a vector."""

    arrays: Mapping[str, StoredArray] = {"codes": StoredArray("i1", 1), "scales": StoredArray("f4", 0)}

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        codes, scales = kernels.quantize_int8(vectors)
        return {"codes": codes, "scales": scales}

    def decode(self, stored: Stored, places: NDArray[np.int64]) -> NDArray[np.float32]:
        return stored["codes"][places] * stored["scales"][places, None]

    def find(
        self, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None
    ) -> ScoredRows:
        rows, scores = kernels.dense_top_k_int8(
            query[None], stored["codes"], stored["scales"], k, alive=mask, threads=threads
        )
        return rows[0], scores[0]

    def score(self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return kernels.dense_scores(query, stored["codes"], rows, scales=stored["scales"])

    def find_maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], k: int, threads: int | None
    ) -> ScoredRows:
        return best(rows, self.maxsim(stored, query, rows, threads), k)

    def maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], threads: int | None
    ) -> NDArray[np.float32]:
        codes, scales, offsets = stored["codes"], stored["scales"], stored["offsets"]
        return kernels.maxsim_int8(query, codes, scales, offsets, documents=rows, threads=threads)
