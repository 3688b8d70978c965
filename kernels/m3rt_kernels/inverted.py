"""An inverted index of sparse rows: exact top-k by dot product, in arrays that can be memory-mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import pruning
from .checks import check_alive, check_array, check_csr, check_k, readonly
from .heap import ranked
from .jit import available
from .parallel import run_ranges, split, thread_count
from .postings import (
    LEVELS,
    SHIFT,
    Postings,
    block_tables,
    column_maxima,
    n_blocks_of,
    quantize,
    split_columns,
    term_slots,
    transpose,
)
from .top_k import best

_FEW = 64  # documents below which a term is no column
_TABLE = 0.25  # a term in more of the blocks than this is common: its table costs less than its postings
_SHARE = 500_000  # postings that are worth a thread

Found = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class InvertedIndex:
    """Postings by term. Its arrays go to disk and come back, mapped or not, through `arrays` and `from_arrays`.

    size (1,) int64: the number of documents; terms (n_terms,) int32: sorted ids; indptr (n_terms + 1,) int64, docs
    (nnz,) int32 and impacts (nnz,) float32 or uint8: term t's postings; scales (n_terms,) float32: its largest impact
    / 255; common (n_common,) and frequent (n_columns,) int64: the terms that have rows in block_max and block_start, or
    in columns and column_max, see `Postings`. Raises ValueError when they do not fit.
    """

    size: NDArray[np.int64]
    terms: NDArray[np.int32]
    indptr: NDArray[np.int64]
    docs: NDArray[np.int32]
    impacts: NDArray[Any]
    scales: NDArray[np.float32]
    common: NDArray[np.int64]
    block_max: NDArray[np.uint8]
    block_start: NDArray[np.int32]
    frequent: NDArray[np.int64]
    columns: NDArray[Any]
    column_max: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name, (dtype, ndim) in _ARRAYS.items():
            array = getattr(self, name)
            check_array(name, array, dtype, ndim)
            object.__setattr__(self, name, readonly(array))
        n_blocks = n_blocks_of(self.n_docs)
        expected = {
            "size": (1,), "indptr": (len(self.terms) + 1,), "scales": (len(self.terms),),
            "impacts": self.docs.shape, "block_max": (len(self.common), n_blocks),
            "block_start": (len(self.common), n_blocks + 1), "columns": (len(self.frequent), n_blocks << SHIFT),
            "column_max": (len(self.frequent), n_blocks),
        }  # fmt: skip
        if self.columns.dtype != self.impacts.dtype:
            raise ValueError(f"columns are {self.columns.dtype} and impacts {self.impacts.dtype}, expected the same")
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of the inverted index is {getattr(self, name).shape}, expected {shape}")

    @classmethod
    def build(
        cls,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        values: NDArray[np.float32],
        *,
        impacts: Literal["float32", "uint8"] = "float32",
    ) -> InvertedIndex:
        """Index CSR rows: row i is document i; ids >= 0 sorted and unique in a row, values finite and >= 0.

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
        # A column where it is smaller than the postings: memory is what a long query waits for.
        share = stored.itemsize / (docs.itemsize + stored.itemsize)
        frequent = np.flatnonzero(np.diff(starts) > max(_FEW, share * n_docs))
        starts, docs, stored, columns = split_columns(starts, docs, stored, frequent, n_docs)
        common = np.flatnonzero(np.diff(starts) > max(1, _TABLE * n_blocks_of(n_docs)))
        tables = block_tables(starts, docs, stored, scales, common, n_docs)
        maxima = column_maxima(columns, scales[frequent])
        size = np.array([n_docs], np.int64)
        return cls(size, terms, starts, docs, stored, scales, common, *tables, frequent, columns, maxima)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, read-only views; from_arrays makes the same index of them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> InvertedIndex:
        """An index over `arrays`, which stay where they are when they are contiguous. Raises ValueError."""
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

        ids (n,) int32 >= 0, sorted and unique, with weights (n,) float32, finite and >= 0; alive (n_docs,) bool: what
        may be returned. Returns fresh docs (<= k,) int64 and scores float32, best first, ties by the lower doc. Sums
        are float32 in the order of ids. Raises ValueError for arguments that do not fit.
        """
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
        limits = weights * self.scales[slots]
        exact = limits if self.impacts.dtype == np.uint8 else weights
        if not len(slots) or not available():
            return self._search_plain(slots, exact, k, alive)
        rows, columns = _rows(self.common, slots), _rows(self.frequent, slots)
        # Two float32 products may round down; 2**-21 is more than both can lose.
        return self._search_pruned(
            pruning.Query(slots, rows, columns, exact, limits * np.float32(1 + 2**-21)), k, alive, threads
        )

    def _search_pruned(self, query: pruning.Query, k: int, alive: NDArray[np.bool_] | None, threads: int) -> Found:
        n_blocks = self.block_max.shape[1]
        index = Postings(
            self.indptr, self.docs, self.impacts, self.block_max, self.block_start, self.columns, self.column_max
        )
        allowed = readonly(np.zeros(0, np.bool_) if alive is None else alive)
        parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []

        def work(begin: int, end: int) -> None:
            parts.append(pruning.search_blocks(query, index, allowed, min(k, self.n_docs), begin, end, self.n_docs))

        postings = int((self.indptr[query.terms + 1] - self.indptr[query.terms]).sum())
        run_ranges(work, split(n_blocks, min(threads, 1 + postings // _SHARE)), threads)
        scores, docs = (np.concatenate(found) for found in zip(*parts, strict=True))
        docs, scores = ranked(scores, docs)
        return docs[:k], scores[:k]

    def _search_plain(
        self, slots: NDArray[np.int64], weights: NDArray[np.float32], k: int, alive: NDArray[np.bool_] | None
    ) -> Found:
        sums = np.zeros(self.n_docs, np.float32)
        for slot, weight, column in zip(slots, weights, _rows(self.frequent, slots), strict=True):
            if column >= 0:
                sums += weight * self.columns[column, : self.n_docs].astype(np.float32)
            own = slice(self.indptr[slot], self.indptr[slot + 1])
            sums[self.docs[own]] += weight * self.impacts[own].astype(np.float32)
        docs, scores = best(sums, k, alive)
        return docs[scores > 0], scores[scores > 0]


_ARRAYS: dict[str, tuple[Any, int]] = {
    "size": (np.int64, 1), "terms": (np.int32, 1), "indptr": (np.int64, 1), "docs": (np.int32, 1),
    "impacts": ((np.float32, np.uint8), 1), "scales": (np.float32, 1), "common": (np.int64, 1),
    "block_max": (np.uint8, 2), "block_start": (np.int32, 2), "frequent": (np.int64, 1),
    "columns": ((np.float32, np.uint8), 2), "column_max": (np.uint8, 2),
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
    if len(values) and values.min() < 0:
        raise ValueError(f"{name} values hold a negative number, expected weights >= 0")
