"""Exact top-k over posting lists, skipping blocks of documents that cannot reach it.

Block-max pruning after Mallia, Suel and Tonellotto, "Faster Learned Sparse Retrieval with Block-Max Pruning" (SIGIR
2024): bound every block, score the most promising ones, then those whose bound still reaches the k-th score. Scores and
bounds add the terms in the same order and rounding is monotone, so no document's score exceeds its block's bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .heap import push
from .jit import jit
from .postings import SHIFT

_SIZE = 1 << SHIFT
_GROUP = 64  # blocks that share one maximum, so that most blocks are passed over 64 at a time
_FIRST = 32  # groups whose best blocks are scored first
_MANY = 32  # terms whose bounds add up to so much that no block is passed over
_CHUNK = 4096  # blocks whose scores, 256 KB, stay in the second cache when all are scored
_LOOKUP = 24  # postings that are added in the time it takes to find a block's in one term


class Query(NamedTuple):
    """Terms of one query: places in the index, rows of tables and of columns or -1, weights for scores and bounds."""

    terms: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.float32]
    limits: NDArray[np.float32]


@jit
def search_blocks(query, index, alive, k, begin, end, n_docs):  # type: ignore[no-untyped-def]
    """Scores and documents of the k best of blocks begin:end, in no order; an empty `alive` allows all."""
    starts, ends = _spans(query, index, begin, end)
    if len(starts) > _MANY:
        return _search_all(query, index, alive, starts, ends, k, begin, end, n_docs)
    work = np.sum(ends - starts) + np.sum(query.columns >= 0) * (end - begin)
    bounds = _block_bounds(query, index, starts, ends, begin, end)
    peaks = _group_maxima(bounds)
    ladder = np.sort(peaks)
    blocks = np.empty(end - begin, np.int64)
    scores, docs, size = np.zeros(k, np.float32), np.zeros(k, np.int64), 0
    upper, want = np.float32(np.inf), _FIRST
    while True:
        lower = scores[0] if size == k else np.float32(0)
        if want < len(ladder):
            lower = max(lower, ladder[len(ladder) - want])
        n = _blocks_between(bounds, peaks, lower, upper, blocks)
        if n * len(starts) * _LOOKUP > work:
            return _search_all(query, index, alive, starts, ends, k, begin, end, n_docs)
        found = _score_blocks(query, index, starts, ends, begin, blocks[:n])
        for i in range(n):
            first = (begin + blocks[i]) << SHIFT
            size = _collect(found[i << SHIFT : (i + 1) << SHIFT], first, n_docs, alive, scores, docs, size)
        if lower <= (scores[0] if size == k else np.float32(0)):
            return scores[:size], docs[:size]
        upper, want = lower, want * 8


@jit
def _search_all(query, index, alive, starts, ends, k, begin, end, n_docs):  # type: ignore[no-untyped-def]
    scores, docs, size = np.zeros(k, np.float32), np.zeros(k, np.int64), 0
    sums = np.empty(_CHUNK << SHIFT, np.float32)
    at = starts.copy()
    for chunk in range(begin, end, _CHUNK):
        first, last = chunk << SHIFT, min(chunk + _CHUNK, end) << SHIFT
        sums[:] = 0
        for i in range(len(at)):
            weight, column = query.weights[i], query.columns[i]
            if column >= 0:
                _add(sums, weight, index.columns[column, first:last])
            else:
                until = _first_at(index.docs, at[i], ends[i], last)
                _scatter(sums, weight, index.docs[at[i] : until], index.impacts[at[i] : until], first, 0)
                at[i] = until
        size = _collect(sums[: last - first], first, n_docs, alive, scores, docs, size)
    return scores[:size], docs[:size]


@jit
def _spans(query, index, begin, end):  # type: ignore[no-untyped-def]
    starts, ends = np.empty(len(query.terms), np.int64), np.empty(len(query.terms), np.int64)
    for i in range(len(starts)):
        first, last, row = index.indptr[query.terms[i]], index.indptr[query.terms[i] + 1], query.rows[i]
        if row >= 0:
            starts[i], ends[i] = first + index.block_start[row, begin], first + index.block_start[row, end]
        else:
            starts[i] = _first_at(index.docs, first, last, begin << SHIFT)
            ends[i] = _first_at(index.docs, starts[i], last, end << SHIFT)
    return starts, ends


@jit
def _first_at(docs, low, high, doc):  # type: ignore[no-untyped-def]
    """The first place in docs[low:high], which rise, of a document >= doc."""
    step = 1
    while low + step < high and docs[low + step] < doc:
        low += step
        step <<= 1
    high = min(high, low + step)
    while low < high:
        middle = (low + high) >> 1
        if docs[middle] < doc:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def _block_bounds(query, index, starts, ends, begin, end):  # type: ignore[no-untyped-def]
    bounds = np.zeros((end - begin + _GROUP - 1) // _GROUP * _GROUP, np.float32)
    for i in range(len(starts)):
        if query.rows[i] >= 0:
            _add(bounds, query.limits[i], index.block_max[query.rows[i], begin:end])
        elif query.columns[i] >= 0:
            _add(bounds, query.limits[i], index.column_max[query.columns[i], begin:end])
        else:  # few postings share a block, so their sum bounds them nearly as well as their maximum
            own = slice(starts[i], ends[i])
            _scatter(bounds, query.weights[i], index.docs[own], index.impacts[own], begin << SHIFT, SHIFT)
    return bounds


@jit
def _add(sums, weight, values):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        sums[i] += weight * np.float32(values[i])


@jit
def _scatter(sums, weight, docs, impacts, first, shift):  # type: ignore[no-untyped-def]
    for p in range(len(docs)):
        # Unsigned: numba asks of every signed index whether it is negative.
        sums[np.uint32(docs[p] - first) >> np.uint32(shift)] += weight * np.float32(impacts[p])


@jit
def _group_maxima(bounds):  # type: ignore[no-untyped-def]
    # Bits of floats >= 0 order as the floats do, and a maximum of integers is a vector instruction.
    bits = bounds.view(np.int32)
    maxima = np.zeros(len(bits) // _GROUP, np.int32)
    for g in range(len(maxima)):
        largest = np.int32(0)
        for b in range(g * _GROUP, (g + 1) * _GROUP):
            largest = max(largest, bits[b])
        maxima[g] = largest
    return maxima.view(np.float32)


@jit
def _blocks_between(bounds, peaks, lower, upper, blocks):  # type: ignore[no-untyped-def]
    n = 0
    for g in range(len(peaks)):
        if peaks[g] >= lower:
            for b in range(g * _GROUP, (g + 1) * _GROUP):
                if lower <= bounds[b] < upper and bounds[b] > 0:
                    blocks[n] = b
                    n += 1
    return n


@jit
def _score_blocks(query, index, starts, ends, begin, blocks):  # type: ignore[no-untyped-def]
    sums = np.zeros(len(blocks) << SHIFT, np.float32)
    for i in range(len(starts)):
        weight, row, column, p = query.weights[i], query.rows[i], query.columns[i], starts[i]
        term = index.indptr[query.terms[i]]
        for j in range(len(blocks)):
            block = begin + blocks[j]
            if column >= 0:
                for d in range(_SIZE):
                    doc = np.uint64((block << SHIFT) + d)
                    sums[np.uint64((j << SHIFT) + d)] += weight * np.float32(index.columns[column, doc])
                continue
            if row >= 0:
                p, until = term + index.block_start[row, block], term + index.block_start[row, block + 1]
            else:
                p = _first_at(index.docs, p, ends[i], block << SHIFT)
                until = ends[i]
            base = (block - j) << SHIFT
            last = (block + 1) << SHIFT
            while p < until and index.docs[p] < last:
                sums[index.docs[p] - base] += weight * np.float32(index.impacts[p])
                p += 1
    return sums


@jit
def _collect(sums, first, n_docs, alive, scores, docs, size):  # type: ignore[no-untyped-def]
    bits, n = sums.view(np.int32), min(len(sums), n_docs - first)
    for begin in range(0, n, 64):
        end = min(begin + 64, n)
        largest = np.int32(0)
        for i in range(begin, end):
            largest = max(largest, bits[i])
        if largest == 0 or (size == len(scores) and largest < scores[:1].view(np.int32)[0]):
            continue
        for i in range(begin, end):
            if sums[i] > 0 and (len(alive) == 0 or alive[first + i]):
                size = push(scores, docs, size, sums[i], first + i)
    return size
