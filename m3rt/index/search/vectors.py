"""Dense vectors and ColBERT's, as an index stores and scores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import m3rt_kernels as kernels
import numpy as np
from numpy.typing import NDArray

from ..store.precisions import Part
from ..store.segment import Segment

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
Alive = NDArray[np.bool_] | None

RESCORED = 8  # rows that sign bits choose for each row that int8 codes then rank


@dataclass(frozen=True, slots=True, eq=False)
class DenseQuery:
    """A query's dense vector (dim,) float32."""

    vector: NDArray[np.float32]
    threads: int | None

    def find(self, segment: Segment, k: int, alive: Alive) -> Found:
        """The k best rows of a segment and their scores; every row that is alive is scored."""
        arrays, query = segment.arrays, self.vector[None]
        given: dict[str, Any] = {"alive": alive, "threads": self.threads}
        if "dense.vectors" in arrays:
            rows, scores = kernels.dense_top_k(query, arrays["dense.vectors"], k, **given)
        elif "dense.bits" not in arrays:
            rows, scores = kernels.dense_top_k_int8(query, arrays["dense.codes"], arrays["dense.scales"], k, **given)
        elif "dense.codes" not in arrays:
            rows, scores = kernels.dense_top_k_binary(query, arrays["dense.bits"], k, **given)
        else:
            (rows,), _ = kernels.dense_top_k_binary(query, arrays["dense.bits"], k * RESCORED, **given)
            return best(rows, self.score(segment, rows), k)
        return rows[0], scores[0]

    def score(self, segment: Segment, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot products with rows of a segment, by the most exact vectors that are stored."""
        arrays = segment.arrays
        if "dense.vectors" in arrays:
            return kernels.dense_scores(self.vector, arrays["dense.vectors"], rows)
        if "dense.codes" in arrays:
            return kernels.dense_scores(self.vector, arrays["dense.codes"], rows, scales=arrays["dense.scales"])
        # Sign bits have no scores but those of a search: one among these rows that returns all of them.
        scores = np.empty(len(rows), np.float32)
        order, found = kernels.dense_top_k_binary(self.vector[None], arrays["dense.bits"][rows], max(len(rows), 1))
        scores[order[0]] = found[0]
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class ColbertQuery:
    """A query's ColBERT vectors (tokens, dim) float32."""

    vectors: NDArray[np.float32]
    threads: int | None

    def find(self, segment: Segment, k: int, alive: Alive) -> Found:
        """The k best rows of a segment and their scores; every row that is alive is scored."""
        rows = np.arange(len(segment)) if alive is None else np.flatnonzero(alive)
        if "colbert.bits" in segment.arrays and "colbert.codes" in segment.arrays:
            rows, _ = best(rows, self._by_bits(segment, rows), k * RESCORED)
        return best(rows, self.score(segment, rows), k)

    def score(self, segment: Segment, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """MaxSim with rows of a segment, by the most exact vectors that are stored."""
        arrays = segment.arrays
        if "colbert.codes" not in arrays:
            return self._by_bits(segment, rows)
        codes, scales, offsets = (arrays[f"colbert.{name}"] for name in ("codes", "scales", "offsets"))
        return kernels.maxsim_int8(self.vectors, codes, scales, offsets, documents=rows, threads=self.threads)

    def _by_bits(self, segment: Segment, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        bits, offsets = segment.arrays["colbert.bits"], segment.arrays["colbert.offsets"]
        return kernels.maxsim_binary(self.vectors, bits, offsets, documents=rows, threads=self.threads)


def encode(vectors: NDArray[np.float32], parts: Mapping[str, Part]) -> dict[str, NDArray[Any]]:
    """The arrays that store `vectors` (n, dim) float32, by their names in a precision's table."""
    found: dict[str, NDArray[Any]] = {}
    if "vectors" in parts:
        found["vectors"] = vectors
    if "codes" in parts:
        found["codes"], found["scales"] = kernels.quantize_int8(vectors)
    if "bits" in parts:
        found["bits"] = kernels.pack_bits(vectors)
    return found


def best(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Found:
    """The k rows with the highest scores."""
    order, highest = kernels.top_k(scores, k)
    return rows[order], highest
