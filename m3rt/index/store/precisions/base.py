"""The contract of a precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import m3rt_kernels as kernels
import numpy as np
from numpy.typing import NDArray

from ..rows import RowMask, ScoredRows

Stored = Mapping[str, NDArray[Any]]  # the arrays of one view in one segment, by the names that its precision gives them


class StoredArray(NamedTuple):
    """An array of a precision: its dtype, and the components of a vector that one item holds (0: one item a vector)."""

    dtype: str
    components: int


class Precision(Protocol):
    """A way to store vectors: the arrays that hold them, and the searches that read these arrays.

    query: (dim,) float32. rows: (n,) int64. threads: CPU threads, by default all that the process may use.
    """

    @property
    def arrays(self) -> Mapping[str, StoredArray]:
        """The arrays by name, in the order of their files in a segment."""
        ...

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The arrays that store `vectors` (n, dim)."""
        ...

    def decode(self, stored: Stored, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors at some places, fresh (n, dim), by the most exact array that is stored."""
        ...

    def find(
        self, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None
    ) -> ScoredRows:
        """The k rows with the highest dot products; every row of the mask is scored."""
        ...

    def score(self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Dot products with `rows`, in their order, by the most exact array that is stored."""
        ...


class TokenPrecision(Precision, Protocol):
    """A precision that also stores a vector for each token.

    The stored arrays hold the vectors of all rows one after the other; "offsets" (rows + 1,) says where each row
    begins. query: (tokens, dim) float32.
    """

    def find_maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], k: int, threads: int | None
    ) -> ScoredRows:
        """The k of `rows` with the highest MaxSim; every one of them is scored."""
        ...

    def maxsim(
        self, stored: Stored, query: NDArray[np.float32], rows: NDArray[np.int64], threads: int | None
    ) -> NDArray[np.float32]:
        """MaxSim with `rows`, in their order, by the most exact array that is stored."""
        ...


def best(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> ScoredRows:
    """The k rows with the highest scores."""
    order, highest = kernels.top_k(scores, k)
    return rows[order], highest
