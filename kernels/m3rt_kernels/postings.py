"""Posting lists by term from CSR rows; columns of the most frequent terms; bounds over blocks of documents."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .jit import available, jit

SHIFT = 4  # a block is 16 documents: one vector of float32, and small enough that its bound is near its scores
LEVELS = 255

Csr = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


class Postings(NamedTuple):
    """What search reads, all read-only: term t's documents and impacts lie at indptr[t]:indptr[t + 1].

    docs int32, rising in each term; impacts float32, or uint8 in steps of the term's scale. Row c of block_max uint8
    (n_common, n_blocks) and block_start int32 (n_common, n_blocks + 1) belong to a common term: no impact in the block
    exceeds block_max * scale, and its postings begin at indptr[t] + block_start. The most frequent terms have no
    postings but a row of columns (n_columns, n_blocks * 16), the impacts of all documents, and one of column_max.
    """

    indptr: NDArray[np.int64]
    docs: NDArray[np.int32]
    impacts: NDArray[Any]
    block_max: NDArray[np.uint8]
    block_start: NDArray[np.int32]
    columns: NDArray[Any]
    column_max: NDArray[np.uint8]


def term_slots(indices: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The sorted distinct ids, and for each id its place among them."""
    if not len(indices) or indices.max() >= 1 << 24:  # a table of all ids up to the largest is faster while it is small
        terms, slots = np.unique(indices, return_inverse=True)
        return terms.astype(np.int32), slots.astype(np.int32)
    place = np.zeros(int(indices.max()) + 1, np.int32)
    place[indices] = 1
    terms = np.flatnonzero(place).astype(np.int32)
    place[terms] = np.arange(len(terms), dtype=np.int32)
    return terms, place[indices]


def transpose(indptr: NDArray[np.int64], slots: NDArray[np.int32], values: NDArray[np.float32], n_terms: int) -> Csr:
    """CSR rows by document to CSR rows by term: indptr (n_terms + 1,), documents rising in each row, values."""
    if available():
        found: Csr = _transpose(indptr, slots, values, n_terms)
        return found
    order = np.argsort(slots, kind="stable")
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    counts = np.bincount(slots, minlength=n_terms)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), rows[order], values[order]


@jit
def _transpose(indptr, slots, values, n_terms):  # type: ignore[no-untyped-def]
    starts = np.zeros(n_terms + 1, np.int64)
    for slot in slots:
        starts[slot + 1] += 1
    for term in range(n_terms):
        starts[term + 1] += starts[term]
    free = starts.copy()
    docs, found = np.empty(len(slots), np.int32), np.empty(len(slots), np.float32)
    for doc in range(len(indptr) - 1):
        for p in range(indptr[doc], indptr[doc + 1]):
            at = free[slots[p]]
            docs[at], found[at] = doc, values[p]
            free[slots[p]] = at + 1
    return starts, docs, found


def quantize(values: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The nearest steps; a positive value keeps at least one, so that its document stays a match."""
    steps: NDArray[np.float32] = np.clip(np.rint(values / scales), values > 0, LEVELS)
    return steps.astype(np.uint8)


def split_columns(
    indptr: NDArray[np.int64],
    docs: NDArray[np.int32],
    impacts: NDArray[Any],
    frequent: NDArray[np.int64],
    n_docs: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any], NDArray[Any]]:
    """The postings without those of the frequent terms, and the columns of these."""
    columns = np.zeros((len(frequent), n_blocks_of(n_docs) << SHIFT), impacts.dtype)
    for row, term in enumerate(frequent):
        own = slice(indptr[term], indptr[term + 1])
        columns[row, docs[own]] = impacts[own]
    counts = np.diff(indptr)
    kept = np.ones(len(counts), np.bool_)
    kept[frequent] = False
    stay = np.repeat(kept, counts)
    rest = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts * kept)])
    return rest, docs[stay], impacts[stay], columns


def column_maxima(columns: NDArray[Any], scales: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The largest impact of each block in steps of each column's scale, float32 ones rounded up."""
    largest = columns.reshape(len(columns), columns.shape[1] >> SHIFT, 1 << SHIFT).max(axis=2)
    return largest if columns.dtype == np.uint8 else _rounded_up(largest, scales[:, None])


def n_blocks_of(n_docs: int) -> int:
    return (n_docs + (1 << SHIFT) - 1) >> SHIFT


def block_tables(
    indptr: NDArray[np.int64],
    docs: NDArray[np.int32],
    impacts: NDArray[Any],
    scales: NDArray[np.float32],
    common: NDArray[np.int64],
    n_docs: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """block_max and block_start of the common terms; float32 impacts are rounded up to whole scales."""
    n_blocks = n_blocks_of(n_docs)
    largest = np.zeros((len(common), n_blocks), np.uint8)
    starts = np.zeros((len(common), n_blocks + 1), np.int32)
    edges = np.arange(n_blocks + 1) << SHIFT
    for row, term in enumerate(common):
        own = slice(indptr[term], indptr[term + 1])
        starts[row] = np.searchsorted(docs[own], edges)
        levels = impacts[own] if impacts.dtype == np.uint8 else _rounded_up(impacts[own], scales[term])
        filled = np.flatnonzero(np.diff(starts[row]))
        largest[row, filled] = np.maximum.reduceat(levels, starts[row, filled])
    return largest, starts


def _rounded_up(values: NDArray[np.float32], scale: Any) -> NDArray[np.uint8]:
    steps: NDArray[np.float32] = np.ceil(values / scale)
    steps += steps * scale < values
    return np.minimum(steps, LEVELS).astype(np.uint8)
