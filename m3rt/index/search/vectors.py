"""The dense view of a query and its ColBERT view, each with the precision in which the index stores that view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..store.columns import view_arrays
from ..store.precisions import Precision, TokenPrecision
from ..store.rows import RowMask, ScoredRows
from ..store.segment import Segment
from ..store.signs import find


@dataclass(frozen=True, slots=True, eq=False)
class DenseQuery:
    """A query's dense vector (dim,) float32. exact: score every row, also where signs could choose rows."""

    vector: NDArray[np.float32]
    precision: Precision
    threads: int | None
    exact: bool

    def find(self, segment: Segment, k: int, mask: RowMask) -> ScoredRows:
        """The k best rows of a segment, of those of the mask; signs may choose which are scored."""
        stored = view_arrays(segment.arrays, "dense")
        return find(self.precision, stored, self.vector, k, mask, self.threads, exact=self.exact)

    def score(self, segment: Segment, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot products with rows of a segment, by the most exact vectors that are stored."""
        return self.precision.score(view_arrays(segment.arrays, "dense"), self.vector, rows)


@dataclass(frozen=True, slots=True, eq=False)
class ColbertQuery:
    """A query's ColBERT vectors (tokens, dim) float32."""

    vectors: NDArray[np.float32]
    precision: TokenPrecision
    threads: int | None

    def find(self, segment: Segment, k: int, mask: RowMask) -> ScoredRows:
        """The k best rows of a segment; every row of the mask is scored."""
        rows = np.arange(len(segment)) if mask is None else np.flatnonzero(mask)
        return self.precision.find_maxsim(view_arrays(segment.arrays, "colbert"), self.vectors, rows, k, self.threads)

    def score(self, segment: Segment, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """MaxSim with rows of a segment, by the most exact vectors that are stored."""
        return self.precision.maxsim(view_arrays(segment.arrays, "colbert"), self.vectors, rows, self.threads)
