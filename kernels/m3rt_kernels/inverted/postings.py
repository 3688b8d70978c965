"""Posting lists by term from CSR rows, and the most frequent terms as columns over all documents."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checks import readonly
from ..compiler.jit import either, jit

LEVELS = 255
_SORT_NS = 100  # numpy's time for a posting

Csr = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


class Postings(NamedTuple):
    """What search reads, all read-only: term t's documents and impacts lie at indptr[t]:indptr[t + 1].

    docs int32, rising in each term; impacts float32, or uint8 in steps of the term's scale. Columns uint8 (n_columns,
    n_docs) hold the steps of every document for one of the most frequent terms: float32 impacts rounded up, to which
    the postings have the exact ones, or uint8 impacts themselves, which have no postings then.
    """

    indptr: NDArray[np.int64]
    docs: NDArray[np.int32]
    impacts: NDArray[Any]
    columns: NDArray[np.uint8]


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

    def native(kernel: Any) -> Csr:
        found: Csr = kernel(readonly(indptr), readonly(slots), readonly(values), n_terms)
        return found

    def plain() -> Csr:
        order = np.argsort(slots, kind="stable")
        rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
        counts = np.bincount(slots, minlength=n_terms)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), rows[order], values[order]

    return either(_transpose, _SORT_NS * len(slots), native, plain)


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


def columns_of(
    indptr: NDArray[np.int64],
    docs: NDArray[np.int32],
    impacts: NDArray[Any],
    scales: NDArray[np.float32],
    frequent: NDArray[np.int64],
    n_docs: int,
) -> NDArray[np.uint8]:
    """A column for each frequent term; float32 impacts are rounded up to whole scales."""
    columns = np.zeros((len(frequent), n_docs), np.uint8)
    for row, term in enumerate(frequent):
        own = slice(indptr[term], indptr[term + 1])
        steps = impacts[own] if impacts.dtype == np.uint8 else _rounded_up(impacts[own], scales[term])
        columns[row, docs[own]] = steps
    return columns


def _rounded_up(values: NDArray[np.float32], scale: np.float32) -> NDArray[np.uint8]:
    steps: NDArray[np.float32] = np.ceil(values / scale)
    steps += steps * scale < values
    return np.minimum(steps, LEVELS).astype(np.uint8)


def without(
    indptr: NDArray[np.int64], docs: NDArray[np.int32], impacts: NDArray[Any], frequent: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """The postings without those of the frequent terms."""
    counts = np.diff(indptr)
    kept = np.ones(len(counts), np.bool_)
    kept[frequent] = False
    stay = np.repeat(kept, counts)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts * kept)]), docs[stay], impacts[stay]
