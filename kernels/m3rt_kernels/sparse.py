"""Sparse lexical weights: token weights to CSR, and dot products of CSR rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_csr, check_indptr, readonly
from .compiler.jit import either, jit
from .parallel import run_ranges, split, thread_count

_TILE_ROWS = 128  # rows of a at a time: their weights for one term are eight vectors of 512 bits
_BUFFERED_ROWS = 64  # rows of b whose scores are kept before they are written as columns
_MAX_TABLE_ID = 1 << 24  # up to this id a table of all ids' places is small enough
_INDICES_PER_THREAD = 1 << 14  # fewer are not worth a thread
_NUMPY_NS_PER_INDEX = 100  # numpy's time to look it up
_CSR = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]


def scatter_max(
    ids: NDArray[np.int32], weights: NDArray[np.float32], offsets: NDArray[np.int64], unused: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Turn the token weights of n texts into CSR rows, in which a repeated id keeps its largest weight.

    ids and weights (total,) are ragged by offsets (n + 1,). Weights <= 0 and `unused` ids are dropped, as in
    FlagEmbedding's M3Embedder. Returns fresh indptr (n + 1,), indices sorted in each row, values. Raises ValueError for
    offsets that do not rise from 0 to total, and weights that are NaN.
    """
    check_array("ids", ids, (np.int32, np.int64), 1)
    check_array("weights", weights, np.float32, 1)
    check_array("offsets", offsets, np.int64, 1)
    check_indptr("offsets", offsets, len(ids))
    if len(weights) != len(ids) or np.isnan(weights).any():
        raise ValueError(f"weights are {len(weights)} for {len(ids)} ids, expected as many, and no NaN")
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    keep = (weights > 0) & ~np.isin(ids, unused)
    rows, ids, weights = rows[keep], ids[keep], weights[keep]
    order = np.lexsort((ids, rows))
    rows, ids, weights = rows[order], ids[order], weights[order]
    new = np.ones(len(ids), np.bool_)
    new[1:] = (rows[1:] != rows[:-1]) | (ids[1:] != ids[:-1])
    starts = np.flatnonzero(new)
    values = np.maximum.reduceat(weights, starts) if len(starts) else weights
    indptr = np.zeros(len(offsets), np.int64)
    np.cumsum(np.bincount(rows[starts], minlength=len(offsets) - 1), out=indptr[1:])
    return indptr, ids[starts].astype(np.int32), values.astype(np.float32)


def sparse_dot(
    indptr_a: NDArray[np.int64],
    indices_a: NDArray[np.int32],
    values_a: NDArray[np.float32],
    indptr_b: NDArray[np.int64],
    indices_b: NDArray[np.int32],
    values_b: NDArray[np.float32],
    *,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Multiply every row of one CSR matrix with every row of another.

    indptr (n + 1,) int64, indices int32 >= 0, sorted and unique in each row, values float32, finite. Returns a fresh
    (n_a, n_b) float32. Raises ValueError for arrays that are not such rows.

    >>> row = np.array([0, 2]), np.array([3, 7], np.int32), np.array([1, 2], np.float32)
    >>> sparse_dot(*row, *row).tolist()
    [[5.0]]
    """
    check_csr("a", indptr_a, indices_a, values_a)
    check_csr("b", indptr_b, indices_b, values_b)
    threads = thread_count(threads)
    rows = (readonly(indptr_b), readonly(indices_b), readonly(values_b))
    scores = np.zeros((len(indptr_a) - 1, len(indptr_b) - 1), np.float32)
    for first in range(0, len(scores), _TILE_ROWS):
        tile = indptr_a[first : first + _TILE_ROWS + 1]
        entries = slice(tile[0], tile[-1])
        terms, places = np.unique(indices_a[entries], return_inverse=True)
        table = np.zeros((len(terms), len(tile) - 1), np.float32)
        table[places, np.repeat(np.arange(len(tile) - 1), np.diff(tile))] = values_a[entries]
        if len(terms):
            _tile_scores(terms, table, rows, scores[first : first + _TILE_ROWS], threads)
    return scores


def _tile_scores(
    terms: NDArray[np.int32], table: NDArray[np.float32], rows: _CSR, scores: NDArray[np.float32], threads: int
) -> None:
    """Write the rows times table (terms, width), whose rows belong to the sorted `terms`, to scores (width, n)."""
    indptr, indices, values = rows

    def compiled(kernel: Any) -> None:
        ids, table_ids = indices, terms
        if terms[-1] > _MAX_TABLE_ID:
            ids, table_ids = readonly(_places(terms, indices)), np.arange(len(terms), dtype=np.int32)
        places = np.full(table_ids[-1] + 2, -1, np.int32)
        places[table_ids] = np.arange(len(table_ids))
        run_ranges(
            lambda begin, end: kernel(places, table, indptr, ids, values, scores, begin, end),
            split(len(indptr) - 1, min(threads, 1 + len(indices) // _INDICES_PER_THREAD)),
            threads,
        )

    either(
        _tile_dot,
        _NUMPY_NS_PER_INDEX * len(indices) * (1 + len(scores) / 8),
        compiled,
        lambda: _tile_dot_numpy(terms, table, rows, scores),
    )


def _places(terms: NDArray[np.int32], ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return where each id is in the sorted `terms`, -1 for ids that are not."""
    places = np.minimum(np.searchsorted(terms, ids), len(terms) - 1)
    return np.where(terms[places] == ids, places, -1).astype(np.int32)


@jit(fastmath={"contract"})
def _tile_dot(places, table, indptr, indices, values, scores, begin, end):  # type: ignore[no-untyped-def]
    width, unknown = table.shape[1], np.uint32(len(places) - 1)  # the id -1, read as unsigned, is unknown too
    sums = np.empty((_BUFFERED_ROWS, width), np.float32)
    longest = 0
    for row in range(begin, end):
        longest = max(longest, indptr[row + 1] - indptr[row])
    shared = np.empty(longest + 1, np.int64)
    for first in range(begin, end, _BUFFERED_ROWS):
        last = min(first + _BUFFERED_ROWS, end)
        sums[:] = 0
        for row in range(first, last):
            n = 0
            # Both lines run for every term: a branch on whether it is shared could not be predicted.
            for p in range(indptr[row], indptr[row + 1]):
                shared[n] = p
                n += places[min(np.uint32(indices[p]), unknown)] >= 0
            for i in range(n):
                p = shared[i]
                value, place = values[p], places[indices[p]]
                for q in range(width):
                    sums[row - first, q] += value * table[place, q]
        for q in range(width):
            for row in range(first, last):
                scores[q, row] = sums[row - first, q]


def _tile_dot_numpy(
    terms: NDArray[np.int32], table: NDArray[np.float32], rows: _CSR, scores: NDArray[np.float32]
) -> None:
    indptr, indices, values = rows
    places = _places(terms, indices)
    known = places >= 0
    owners = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))[known]
    for q in range(len(scores)):
        scores[q] = np.bincount(owners, values[known] * table[places[known], q], len(indptr) - 1)


def sparse_dot_rows(
    indptr_a: NDArray[np.int64],
    indices_a: NDArray[np.int32],
    values_a: NDArray[np.float32],
    indptr_b: NDArray[np.int64],
    indices_b: NDArray[np.int32],
    values_b: NDArray[np.float32],
    *,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Multiply row i of one CSR matrix with row i of another of as many rows: a fresh (n,) float32.

    The arrays are as for `sparse_dot`. Raises ValueError for arrays that are not such rows, or not as many.
    """
    check_csr("a", indptr_a, indices_a, values_a)
    check_csr("b", indptr_b, indices_b, values_b)
    n, threads = len(indptr_a) - 1, thread_count(threads)
    if n != len(indptr_b) - 1:
        raise ValueError(f"a has {n} rows and b {len(indptr_b) - 1}, expected as many of both")
    a = readonly(indptr_a), readonly(indices_a), readonly(values_a)
    b = readonly(indptr_b), readonly(indices_b), readonly(values_b)
    indices = len(indices_a) + len(indices_b)

    def compiled(kernel: Any) -> NDArray[np.float32]:
        scores = np.zeros(n, np.float32)
        bounds = split(n, min(threads, 1 + indices // _INDICES_PER_THREAD))
        run_ranges(lambda begin, end: kernel(*a, *b, scores, begin, end), bounds, threads)
        return scores

    return either(_rows_dot, _NUMPY_NS_PER_INDEX * indices, compiled, lambda: _rows_dot_numpy(a, b))


@jit
def _rows_dot(indptr_a, indices_a, values_a, indptr_b, indices_b, values_b, scores, begin, end):  # type: ignore[no-untyped-def]
    for row in range(begin, end):
        i, j, total = indptr_a[row], indptr_b[row], np.float32(0)
        while i < indptr_a[row + 1] and j < indptr_b[row + 1]:
            if indices_a[i] == indices_b[j]:
                total += values_a[i] * values_b[j]
            # Each side moves by the result of a comparison, so there is no branch to predict wrongly.
            step_a, step_b = indices_a[i] <= indices_b[j], indices_b[j] <= indices_a[i]
            i += step_a
            j += step_b
        scores[row] = total


def _rows_dot_numpy(a: _CSR, b: _CSR) -> NDArray[np.float32]:
    n = len(a[0]) - 1
    rows_a, rows_b = (np.repeat(np.arange(n), np.diff(indptr)) for indptr, _, _ in (a, b))
    keys_a, keys_b = rows_a << 31 | a[1], rows_b << 31 | b[1]
    _, in_a, in_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    return np.bincount(rows_a[in_a], a[2][in_a] * b[2][in_b], n).astype(np.float32)
