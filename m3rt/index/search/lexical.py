"""The sparse view of a query: an inverted index is searched, and rows of lexical weights give exact scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from m3rt_kernels import InvertedIndex
from numpy.typing import NDArray

from ..store.columns import Arrays, ragged
from ..store.rows import RowMask, ScoredRows
from ..store.segment import Segment


@dataclass(frozen=True, slots=True, eq=False)
class SparseQuery:
    """A query's token ids (n,) int32, sorted and distinct, and their weights (n,) float32."""

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    threads: int | None

    def find(self, segment: Segment, k: int, mask: RowMask) -> ScoredRows:
        """The k best rows of a segment that share a term, and their scores."""
        index: InvertedIndex = segment.inverted
        return index.search(self.ids, self.weights, k, alive=mask, threads=self.threads)

    def score(self, segment: Segment, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The sum over shared terms of the product of weights, for rows of a segment."""
        offsets = segment.arrays["sparse.offsets"]
        products = self._products(segment.arrays, ragged(offsets, rows))
        owners = np.repeat(np.arange(len(rows)), offsets[rows + 1] - offsets[rows])
        return np.bincount(owners, products, len(rows)).astype(np.float32)

    def shared(self, segment: Segment, row: int) -> dict[int, float]:
        """The part of a row's score that each shared term adds, the largest first."""
        places = np.arange(*segment.arrays["sparse.offsets"][row : row + 2])
        products = self._products(segment.arrays, places)
        order = np.argsort(-products, kind="stable")[: np.count_nonzero(products)]
        return dict(
            zip(segment.arrays["sparse.indices"][places[order]].tolist(), products[order].tolist(), strict=True)
        )

    def _products(self, arrays: Arrays, places: NDArray[np.int64]) -> NDArray[np.float32]:
        ids, values = arrays["sparse.indices"][places], arrays["sparse.values"][places]
        if not len(self.ids):
            return np.zeros(len(ids), np.float32)
        terms = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[terms] == ids, self.weights[terms], np.float32(0)) * values
