"""An inverted index of sparse rows: exact top-k by dot product, in arrays that can be memory-mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..checks import check_alive, check_array, check_csr, check_k, check_pointers, check_rising, check_weights, readonly
from ..compiler.jit import either
from ..parallel import run_ranges, split, thread_count
from ..top_k import best
from . import scoring
from .heap import ranked
from .postings import LEVELS, Postings, columns_of, quantize, term_slots, transpose, without

_FEW = 64  # documents below which a term is no column
_FREQUENT = 0.1  # a term in more of the documents than this is added faster as a column
_SHARE = 500_000  # postings that are worth a thread
_STEPS = 25  # of a column are added in the time of one posting
_SCAN_NS = 10  # numpy's time for a document or a posting
_LARGEST = 1e15  # weight: sums of products and their bounds stay far from float32's largest number

Found = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class InvertedIndex:
    """Postings by term. Its arrays go to disk and come back, mapped or not, through `arrays` and `from_arrays`.

    size (1,) int64: the number of documents; terms (n_terms,) int32: sorted ids; indptr (n_terms + 1,) int64, docs
    (nnz,) int32 and impacts (nnz,) float32 or uint8: term t's postings; scales (n_terms,) float32: its largest impact
    / 255; frequent (n_columns,) int64: the terms that have rows in columns (n_columns, n_docs) uint8, see `Postings`.
    Raises ValueError unless they are what build() makes, as far as a search follows them: kernels trust places.
    """

    size: NDArray[np.int64]
    terms: NDArray[np.int32]
    indptr: NDArray[np.int64]
    docs: NDArray[np.int32]
    impacts: NDArray[Any]
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
        check_pointers("inverted indptr", self.indptr, len(self.docs))
        check_rising("inverted terms", self.terms, 1 << 31)
        check_rising("inverted frequent", self.frequent, len(self.terms))
        check_rising("inverted docs", self.docs, self.n_docs, self.indptr)
        check_weights("inverted impacts", self.impacts, _LARGEST)
        check_weights("inverted scales", self.scales, _LARGEST)
        if self.impacts.dtype == np.uint8 and np.diff(self.indptr)[self.frequent].any():
            raise ValueError("frequent terms of the inverted index have postings too, expected their columns alone")

    @classmethod
    def build(
        cls,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        values: NDArray[np.float32],
        *,
        impacts: Literal["float32", "uint8"] = "float32",
    ) -> InvertedIndex:
        """Index CSR rows: row i is document i; ids >= 0 sorted and unique in a row, values 0..1e15.

        uint8 impacts are whole steps of 1/255 of a term's largest value: a score is off by at most half a step times
        the query's weight for each shared term, and a whole step for values below half a step, which are kept at one.
        Raises ValueError for anything else than such rows.
        """
        _check_rows("documents", indptr, indices, values)
        if impacts not in ("float32", "uint8"):
            raise ValueError(f"impacts is {impacts!r}, expected 'float32' or 'uint8'")
        terms, slots = term_slots(indices)
        starts, docs, found = transpose(indptr, slots, values, len(terms))
        largest = np.maximum.reduceat(found, starts[:-1]) if len(terms) else found
        scales = np.nextafter(largest / np.float32(LEVELS), np.float32(np.inf), dtype=np.float32)
        stored = quantize(found, np.repeat(scales, np.diff(starts))) if impacts == "uint8" else found
        n_docs = len(indptr) - 1
        frequent = np.flatnonzero(np.diff(starts) > max(_FEW, _FREQUENT * n_docs))
        columns = columns_of(starts, docs, stored, scales, frequent, n_docs)
        if impacts == "uint8":
            starts, docs, stored = without(starts, docs, stored, frequent)
        return cls(np.array([n_docs], np.int64), terms, starts, docs, stored, scales, frequent, columns)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, read-only views; from_arrays makes the same index of them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> InvertedIndex:
        """An index over `arrays`, which stay where they are when they are contiguous. Raises ValueError as above."""
        if missing := [name for name in _ARRAYS if name not in arrays]:
            raise ValueError(f"the inverted index lacks {', '.join(missing)}; build it again")
        return cls(**{name: arrays[name] for name in _ARRAYS})

    @property
    def n_docs(self) -> int:
        return int(self.size[0])

    def __len__(self) -> int:
        return self.n_docs

    def __repr__(self) -> str:
        return f"<InvertedIndex {self.n_docs} documents, {len(self.terms)} terms, impacts {self.impacts.dtype}>"

    def search(
        self,
        ids: NDArray[np.int32],
        weights: NDArray[np.float32],
        k: int,
        *,
        alive: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> Found:
        """The k documents with the largest scores > 0, exactly: the sum over shared ids of weight times impact.

        ids (n,) int32 >= 0, sorted and unique, with weights (n,) float32, 0..1e15; alive (n_docs,) bool: what
        may be returned. Returns fresh docs (<= k,) int64 and scores float32, best first, ties by the lower doc. Sums
        are float32 in the order of ids. Raises ValueError for arguments that do not fit.
        """
        check_array("query ids", ids, np.int32, 1)
        _check_rows("query", np.array([0, len(ids)]), ids, weights)
        check_k(k)
        check_alive(alive, self.n_docs)
        return self._search(ids, weights, k, alive, thread_count(threads))

    def search_batch(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        values: NDArray[np.float32],
        k: int,
        *,
        alive: NDArray[np.bool_] | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """`search` for each CSR row, queries on different threads.

        Returns offsets (n + 1,) int64, docs int64 and scores float32: query i found docs[offsets[i]:offsets[i + 1]].
        """
        _check_rows("queries", indptr, indices, values)
        check_k(k)
        check_alive(alive, self.n_docs)
        n, threads = len(indptr) - 1, thread_count(threads)
        found: list[Found] = [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * n

        def work(begin: int, end: int) -> None:
            for i in range(begin, end):
                row = slice(indptr[i], indptr[i + 1])
                found[i] = self._search(indices[row], values[row], k, alive, 1)

        run_ranges(work, range(n + 1), threads)
        offsets = np.cumsum([0, *(len(docs) for docs, _ in found)], dtype=np.int64)
        docs, scores = zip(*found, strict=True) if found else ((), ())
        return (
            offsets,
            np.concatenate([np.zeros(0, np.int64), *docs]),
            np.concatenate([np.zeros(0, np.float32), *scores]),
        )

    def _search(
        self,
        ids: NDArray[np.int32],
        weights: NDArray[np.float32],
        k: int,
        alive: NDArray[np.bool_] | None,
        threads: int,
    ) -> Found:
        slots, known = _places(self.terms, ids)
        slots, weights = slots[known], weights[known]
        steps, whole = weights * self.scales[slots], self.impacts.dtype == np.uint8
        if not len(slots):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        columns = _rows(self.frequent, slots)
        postings = int((self.indptr[slots + 1] - self.indptr[slots]).sum())
        if whole:
            query = scoring.Query(slots, columns, steps, steps, True)
        else:
            # Two float32 products may round down; 2**-21 is more than both can lose where they are normal numbers.
            limits = np.where(weights > 0, np.maximum(steps * np.float32(1 + 2**-21), np.finfo(np.float32).tiny), steps)
            query = scoring.Query(slots, columns, weights, limits, False)
        return either(
            scoring.search_range,
            _SCAN_NS * (self.n_docs * (1 + int((columns >= 0).sum())) + postings),
            lambda kernel: self._search_scoring(kernel, query, k, alive, threads),
            lambda: self._search_plain(slots, query.weights, k, alive),
        )

    def _search_scoring(
        self, kernel: Any, query: scoring.Query, k: int, alive: NDArray[np.bool_] | None, threads: int
    ) -> Found:
        index = Postings(self.indptr, self.docs, self.impacts, self.columns)
        allowed = readonly(np.zeros(0, np.bool_) if alive is None else alive)
        parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []

        def work(begin: int, end: int) -> None:
            parts.append(kernel(query, index, allowed, min(int(k), self.n_docs), begin, end))

        own = query.terms[query.columns < 0]
        cost = int((self.indptr[own + 1] - self.indptr[own]).sum())
        cost += (len(query.terms) - len(own)) * self.n_docs // _STEPS
        run_ranges(work, split(self.n_docs, min(threads, 1 + cost // _SHARE)), threads)
        scores, docs = (np.concatenate(found) for found in zip(*parts, strict=True))
        docs, scores = ranked(scores, docs)
        return docs[:k], scores[:k]

    def _search_plain(
        self, slots: NDArray[np.int64], weights: NDArray[np.float32], k: int, alive: NDArray[np.bool_] | None
    ) -> Found:
        sums = np.zeros(self.n_docs, np.float32)
        for slot, weight, column in zip(slots, weights, _rows(self.frequent, slots), strict=True):
            if column >= 0 and self.impacts.dtype == np.uint8:
                sums += weight * self.columns[column].astype(np.float32)
            own = slice(self.indptr[slot], self.indptr[slot + 1])
            sums[self.docs[own]] += weight * self.impacts[own].astype(np.float32)
        docs, scores = best(sums, k, alive)
        return docs[scores > 0], scores[scores > 0]


_ARRAYS: dict[str, tuple[Any, int]] = {
    "size": (np.int64, 1), "terms": (np.int32, 1), "indptr": (np.int64, 1), "docs": (np.int32, 1),
    "impacts": ((np.float32, np.uint8), 1), "scales": (np.float32, 1), "frequent": (np.int64, 1),
    "columns": (np.uint8, 2),
}  # fmt: skip


def _places(ordered: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where `wanted` values are in the sorted distinct `ordered`, and which of them are there at all."""
    places = np.searchsorted(ordered, wanted)
    found = places < len(ordered)
    found[found] = ordered[places[found]] == wanted[found]
    return places, found


def _rows(ordered: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where `wanted` values are in the sorted distinct `ordered`, -1 where they are not."""
    places, found = _places(ordered, wanted)
    return np.where(found, places, -1)


def _check_rows(name: str, indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]) -> None:
    check_csr(name, indptr, indices, values)
    check_weights(f"{name} values", values, _LARGEST)
