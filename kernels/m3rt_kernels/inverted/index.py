"""An inverted index of sparse rows: exact top-k by dot product, in arrays that can be memory-mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_alive, check_array, check_csr, check_indptr, check_k, check_rising, check_weights, readonly
from ..compiler.jit import either
from ..parallel import run_ranges, split, thread_count
from .heap import ranked
from .postings import MAX_STEP, Postings, columns_of, term_slots, transpose
from .search import Query, search_range, search_range_numpy

_MAX_POSTINGS_WITHOUT_COLUMN = 64  # a term of so few documents never has a column
_MIN_COLUMN_SHARE = 0.1  # a term in more than this share of the documents is added faster as a column
_POSTINGS_PER_THREAD = 500_000  # fewer are not worth a thread
_COLUMN_STEPS_PER_POSTING = 25  # the kernel adds so many steps of a column in the time of one posting
_NUMPY_NS_PER_POSTING = 10  # numpy's time for a posting, and for a document
_MAX_WEIGHT = 1e15  # sums of products, and their bounds, stay far from float32's largest number

TopK = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class InvertedIndex:
    """Postings by term. Its arrays go to disk and come back, mapped or not, through `arrays` and `from_arrays`.

    size (1,) int64: the number of documents; terms (n_terms,) int32: sorted ids; indptr (n_terms + 1,) int64, docs
    (nnz,) int32 and impacts (nnz,) float32: the postings of each term; scales (n_terms,) float32: the term's largest
    impact / 255; frequent (n_columns,) int64: the places in `terms` of the terms that have a row in columns (n_columns,
    n_docs) uint8, see `Postings`.
    Raises ValueError unless the arrays are as build() makes them, as far as a search follows them: kernels do not check
    places again.
    """

    size: NDArray[np.int64]
    terms: NDArray[np.int32]
    indptr: NDArray[np.int64]
    docs: NDArray[np.int32]
    impacts: NDArray[np.float32]
    scales: NDArray[np.float32]
    frequent: NDArray[np.int64]
    columns: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name, (dtype, ndim) in _ARRAYS.items():
            array = getattr(self, name)
            check_array(name, array, dtype, ndim)
            object.__setattr__(self, name, readonly(array))
        self._check_shapes()
        self._check_places()

    def _check_shapes(self) -> None:
        if self.size.shape != (1,) or not 0 <= self.size[0] < 1 << 31:
            raise ValueError(f"inverted size is {self.size.tolist()!s:.40}, expected one number of 0..{(1 << 31) - 1}")
        expected = {
            "indptr": (len(self.terms) + 1,), "scales": (len(self.terms),),
            "impacts": self.docs.shape, "columns": (len(self.frequent), self.n_docs),
        }  # fmt: skip
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of the inverted index is {getattr(self, name).shape}, expected {shape}")

    def _check_places(self) -> None:
        check_indptr("inverted indptr", self.indptr, len(self.docs))
        check_rising("inverted terms", self.terms, 1 << 31)
        check_rising("inverted frequent", self.frequent, len(self.terms))
        check_rising("inverted docs", self.docs, self.n_docs, self.indptr)
        check_weights("inverted impacts", self.impacts, _MAX_WEIGHT)
        check_weights("inverted scales", self.scales, _MAX_WEIGHT)

    @classmethod
    def build(cls, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]) -> InvertedIndex:
        """Index CSR rows: row i is document i; ids >= 0 sorted and unique in a row, values 0..1e15.

        Raises ValueError for rows that are not so.
        """
        _check_rows("documents", indptr, indices, values)
        terms, slots = term_slots(indices)
        starts, docs, impacts = transpose(indptr, slots, values, len(terms))
        largest = np.maximum.reduceat(impacts, starts[:-1]) if len(terms) else impacts
        scales = np.nextafter(largest / np.float32(MAX_STEP), np.float32(np.inf), dtype=np.float32)
        n_docs = len(indptr) - 1
        frequent = np.flatnonzero(np.diff(starts) > max(_MAX_POSTINGS_WITHOUT_COLUMN, _MIN_COLUMN_SHARE * n_docs))
        columns = columns_of(starts, docs, impacts, scales, frequent, n_docs)
        return cls(np.array([n_docs], np.int64), terms, starts, docs, impacts, scales, frequent, columns)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, as read-only views; from_arrays makes the same index of them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> InvertedIndex:
        """Make an index over `arrays`, which are not copied if they are contiguous. Raises ValueError as the class."""
        if missing := [name for name in _ARRAYS if name not in arrays]:
            raise ValueError(f"the inverted index lacks {', '.join(missing)}; build it again")
        return cls(**{name: arrays[name] for name in _ARRAYS})

    @property
    def n_docs(self) -> int:
        return int(self.size[0])

    def __len__(self) -> int:
        return self.n_docs

    def __repr__(self) -> str:
        return f"<InvertedIndex {self.n_docs} documents, {len(self.terms)} terms>"

    def search(
        self,
        ids: NDArray[np.int32],
        weights: NDArray[np.float32],
        k: int,
        *,
        alive: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> TopK:
        """Find the k documents with the largest scores > 0, exactly: the sum over shared ids of weight times impact.

        ids (n,) int32 >= 0, sorted and unique, with weights (n,) float32, 0..1e15; alive (n_docs,) bool marks the
        documents that may be returned. Returns fresh docs (<= k,) int64 and scores float32, best first, ties by the
        lower doc. Sums are float32 in the order of ids. Raises ValueError for arguments that do not fit.
        """
        check_array("query ids", ids, np.int32, 1)
        _check_rows("query", np.array([0, len(ids)]), ids, weights)
        check_k(k)
        check_alive(alive, self.n_docs)
        threads = thread_count(threads)
        query = self._query(ids, weights)
        if not len(query.terms):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        postings = Postings(self.indptr, self.docs, self.impacts, self.columns)
        column_count, posting_count = int((query.columns >= 0).sum()), self._count(query.terms)
        return either(
            search_range,
            _NUMPY_NS_PER_POSTING * (self.n_docs * (1 + column_count) + posting_count),
            lambda kernel: self._search_ranges(kernel, query, postings, k, alive, threads),
            lambda: search_range_numpy(query, postings, alive, k, self.n_docs),
        )

    def _query(self, ids: NDArray[np.int32], weights: NDArray[np.float32]) -> Query:
        slots, known = _places(self.terms, ids)
        slots, weights = slots[known], weights[known]
        places, has_column = _places(self.frequent, slots)
        steps = weights * self.scales[slots]
        # Two float32 products may round down; 2**-21 is more than both can lose where they are normal numbers.
        limits = np.where(weights > 0, np.maximum(steps * np.float32(1 + 2**-21), np.finfo(np.float32).tiny), steps)
        return Query(slots, np.where(has_column, places, -1), weights, limits)

    def _count(self, slots: NDArray[np.int64]) -> int:
        """Count the postings of these terms."""
        return int((self.indptr[slots + 1] - self.indptr[slots]).sum())

    def _search_ranges(
        self, kernel: Any, query: Query, postings: Postings, k: int, alive: NDArray[np.bool_] | None, threads: int
    ) -> TopK:
        """Search ranges of documents on threads, and merge their best."""
        allowed = readonly(np.zeros(0, np.bool_) if alive is None else alive)
        parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []

        def work(begin: int, end: int) -> None:
            parts.append(kernel(query, postings, allowed, min(int(k), self.n_docs), begin, end))

        without_column = query.terms[query.columns < 0]
        cost = self._count(without_column)
        cost += (len(query.terms) - len(without_column)) * self.n_docs // _COLUMN_STEPS_PER_POSTING
        run_ranges(work, split(self.n_docs, min(threads, 1 + cost // _POSTINGS_PER_THREAD)), threads)
        scores, docs = (np.concatenate(part) for part in zip(*parts, strict=True))
        docs, scores = ranked(scores, docs)
        return docs[:k], scores[:k]


_ARRAYS: dict[str, tuple[Any, int]] = {
    "size": (np.int64, 1), "terms": (np.int32, 1), "indptr": (np.int64, 1), "docs": (np.int32, 1),
    "impacts": (np.float32, 1), "scales": (np.float32, 1), "frequent": (np.int64, 1), "columns": (np.uint8, 2),
}  # fmt: skip


def _places(ordered: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each value is in the sorted distinct `ordered`, and whether it is there at all."""
    places = np.searchsorted(ordered, values)
    present = places < len(ordered)
    present[present] = ordered[places[present]] == values[present]
    return places, present


def _check_rows(name: str, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]) -> None:
    check_csr(name, indptr, indices, values)
    check_weights(f"{name} values", values, _MAX_WEIGHT)
