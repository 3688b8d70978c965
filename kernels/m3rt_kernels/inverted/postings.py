"""Posting lists by term from CSR rows, and the most frequent terms as columns over all documents."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checks import readonly
from ..compiler.jit import either, jit

MAX_STEP = 255  # the largest uint8: a column's steps are a term's impacts in 255ths of the largest one
_NUMPY_NS_PER_POSTING = 100  # numpy's time to sort one in
_MAX_TABLE_ID = 1 << 24  # up to this id a table of all ids is small, and faster than sorting

Csr = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


class Postings(NamedTuple):
    """The read-only arrays that a search reads: documents and impacts of term t lie at indptr[t]:indptr[t + 1].

    docs int32 rise in each term; impacts float32. columns uint8 (n_columns, n_docs) hold, for each of the most frequent
    terms, the impact of every document in steps of the term's scale, rounded up. They bound the scores; the exact
    impacts are in the postings of those terms too.
    """

    indptr: NDArray[np.int64]
    docs: NDArray[np.int32]
    impacts: NDArray[np.float32]
    columns: NDArray[np.uint8]


def term_slots(indices: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the sorted distinct ids, and for each id its place among them."""
    if not len(indices) or indices.max() >= _MAX_TABLE_ID:
        terms, slots = np.unique(indices, return_inverse=True)
        return terms.astype(np.int32), slots.astype(np.int32)
    place = np.zeros(int(indices.max()) + 1, np.int32)
    place[indices] = 1
    terms = np.flatnonzero(place).astype(np.int32)
    place[terms] = np.arange(len(terms), dtype=np.int32)
    return terms, place[indices]


def transpose(indptr: NDArray[np.int64], slots: NDArray[np.int32], values: NDArray[np.float32], n_terms: int) -> Csr:
    """Turn CSR rows by document into CSR rows by term: indptr (n_terms + 1,), documents rising in each row, values."""

    def compiled(kernel: Any) -> Csr:
        rows: Csr = kernel(readonly(indptr), readonly(slots), readonly(values), n_terms)
        return rows

    return either(
        _transpose,
        _NUMPY_NS_PER_POSTING * len(slots),
        compiled,
        lambda: _transpose_numpy(indptr, slots, values, n_terms),
    )


@jit
def _transpose(indptr, slots, values, n_terms):  # type: ignore[no-untyped-def]
    starts = np.zeros(n_terms + 1, np.int64)
    for slot in slots:
        starts[slot + 1] += 1
    for term in range(n_terms):
        starts[term + 1] += starts[term]
    free = starts.copy()
    docs, impacts = np.empty(len(slots), np.int32), np.empty(len(slots), np.float32)
    for doc in range(len(indptr) - 1):
        for p in range(indptr[doc], indptr[doc + 1]):
            at = free[slots[p]]
            docs[at], impacts[at] = doc, values[p]
            free[slots[p]] = at + 1
    return starts, docs, impacts


def _transpose_numpy(
    indptr: NDArray[np.int64], slots: NDArray[np.int32], values: NDArray[np.float32], n_terms: int
) -> Csr:
    order = np.argsort(slots, kind="stable")
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    counts = np.bincount(slots, minlength=n_terms)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), rows[order], values[order]


def columns_of(
    indptr: NDArray[np.int64],
    docs: NDArray[np.int32],
    impacts: NDArray[np.float32],
    scales: NDArray[np.float32],
    frequent: NDArray[np.int64],
    n_docs: int,
) -> NDArray[np.uint8]:
    """Return a column for each frequent term: its impacts in steps of its scale, rounded up."""
    columns = np.zeros((len(frequent), n_docs), np.uint8)
    for row, term in enumerate(frequent):
        postings = slice(indptr[term], indptr[term + 1])
        columns[row, docs[postings]] = _rounded_up(impacts[postings], scales[term])
    return columns


def _rounded_up(values: NDArray[np.float32], scale: np.float32) -> NDArray[np.uint8]:
    steps: NDArray[np.float32] = np.ceil(values / scale)
    steps += steps * scale < values
    return np.minimum(steps, MAX_STEP).astype(np.uint8)
