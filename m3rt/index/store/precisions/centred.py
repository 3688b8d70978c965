"""Bits of dense vectors around the center of an index: signs of what a vector has that most of its kind do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import m3rt_kernels as kernels
import numpy as np
from numpy.typing import NDArray

from ..rows import RowMask, ScoredRows
from .base import Stored, StoredArray
from .binary import BITS, Binary, signs_of

CENTER = "center"  # (dim,) float32 of a segment, the same one in all segments of an index
FACTORS = ("factors", "offsets")
# Of the squared length of vectors, the part that they share, from which a center pays: with m3-tiny, .14 to .3, signs
# around 0 rank as well, with multilingual-e5-small, .8, hardly at all (benchmarks/LOG.md).
_SHARED = 0.5


class Centred:
    """A Precision of 1 bit a component and 8 bytes a vector.

    Without a center, the vectors of a model that all point one way have almost the same signs. An index keeps the
    center of its first rows, since nobody can turn bits around one center into bits around another.
    """

    arrays: Mapping[str, StoredArray] = {**Binary.arrays, **dict.fromkeys(FACTORS, StoredArray("f4", 0))}

    def encode(
        self, vectors: NDArray[np.float32], center: NDArray[np.float32] | None = None
    ) -> dict[str, NDArray[Any]]:
        """The arrays around `center` (dim,), by default that of these very vectors, and the center."""
        center = center_of(vectors) if center is None else center
        bits, factors, offsets = kernels.quantize_centred(vectors, center)
        return {BITS: bits, "factors": factors, "offsets": offsets, CENTER: center}

    def decode(self, stored: Stored, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """About the vectors: the product with a query near the center is about the score of a search."""
        center, square = stored[CENTER], stored[CENTER] @ stored[CENTER]
        along = 1 + stored["offsets"][places] / (square or 1)
        signs = signs_of(stored[BITS][places])
        vectors: NDArray[np.float32] = signs * stored["factors"][places, None] + along[:, None] * center
        return vectors

    def find(
        self, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None
    ) -> ScoredRows:
        shared = query @ stored[CENTER]
        if not np.isfinite(shared):
            raise ValueError(f"dense.{CENTER}.npy holds NaN or infinity, expected finite numbers")
        rows, scores = kernels.dense_top_k_binary(
            query[None], stored[BITS], k, factors=stored["factors"], offsets=stored["offsets"], alive=mask,
            threads=threads,
        )  # fmt: skip
        return rows[0], scores[0] + shared

    def score(self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        # As Binary does: the kernel scores signs only in a search, so search these rows and put the scores in order.
        scores = np.empty(len(rows), np.float32)
        of_rows = {name: array if name == CENTER else array[rows] for name, array in stored.items()}
        order, sorted_scores = self.find(of_rows, query, max(len(rows), 1), None, None)
        scores[order] = sorted_scores
        return scores


def center_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of vectors (n, dim) where it is most of each, zeros where it is not: (dim,) float32.

    The mean of n independent unit vectors has the squared length 1 / n, which says nothing of others and is taken off.
    """
    n, squares = len(vectors), np.einsum("ij,ij->", vectors, vectors, dtype=np.float64)
    mean = vectors.mean(axis=0, dtype=np.float64) if n > 1 else np.zeros(vectors.shape[1])
    shared = (mean @ mean - squares / n**2) * n / (n - 1) if n > 1 else 0.0  # the mean product of two of the vectors
    center: NDArray[np.float32] = (mean * (shared > _SHARED * squares / max(1, n))).astype(np.float32)
    return center


def plain(rows: int, dim: int) -> dict[str, NDArray[Any]]:
    """The arrays that a segment lacks which was written before there was a center: its bits are around 0."""
    factors = np.full(rows, 1 / np.sqrt(dim), np.float32)
    return {"factors": factors, "offsets": np.zeros(rows, np.float32), CENTER: np.zeros(dim, np.float32)}
