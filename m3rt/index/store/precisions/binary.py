"""binary: the sign of each component, eight in a byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import m3rt_kernels as kernels
import numpy as np
from numpy.typing import NDArray

from ..rows import RowMask, ScoredRows
from .base import Stored, StoredArray, best

BITS = "bits"  # the array of signs


class Binary:
    """A TokenPrecision of 1 bit a component: small and coarse."""

    arrays: Mapping[str, StoredArray] = {BITS: StoredArray("u1", 8)}

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return {BITS: kernels.pack_bits(vectors)}

    def decode(self, stored: Stored, places: NDArray[np.int64]) -> NDArray[np.float32]:
        signs = signs_of(stored[BITS][places])
        return signs / np.float32(np.sqrt(max(1, signs.shape[1])))  # of unit length

    def find(
        self, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None
    ) -> ScoredRows:
        rows, scores = kernels.dense_top_k_binary(query[None], stored[BITS], k, alive=mask, threads=threads)
        return rows[0], scores[0]

    def score(self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        # The kernel scores signs only in a search: search these rows, let it return all of them, and put the scores
        # back in order.
        scores = np.empty(len(rows), np.float32)
        order, sorted_scores = kernels.dense_top_k_binary(query[None], stored[BITS][rows], max(len(rows), 1))
        scores[order[0]] = sorted_scores[0]
        return scores

    def find_maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], k: int, threads: int | None
    ) -> ScoredRows:
        return best(rows, self.maxsim(stored, query, rows, threads), k)

    def maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], threads: int | None
    ) -> NDArray[np.float32]:
        return kernels.maxsim_binary(query, stored[BITS], stored["offsets"], documents=rows, threads=threads)


def signs_of(bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """1 and -1 (n, dim) for bits (n, dim // 8)."""
    signs: NDArray[np.float32] = np.unpackbits(bits, axis=1, bitorder="little").astype(np.float32) * 2 - 1
    return signs
