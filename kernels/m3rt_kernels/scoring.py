"""Exact top-k over posting lists: bound every document, a chunk at a time, and score those that may be among the best.

To add a byte of a column to sixteen documents takes as long as to add one posting, so scoring all of them is faster
than finding out which need not be. Scores and bounds add the terms in the same order and rounding is monotone, so no
document's score exceeds its bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .heap import push
from .jit import jit

_CHUNK = 1 << 15  # documents whose bounds, 128 KB, stay in the second cache
_GROUP = 64  # documents that are passed over together


class Query(NamedTuple):
    """Terms of one query in order: places in the index, rows of columns or -1, weights of impacts and of columns.

    A step of a column times its limit is the term's score where `bounds_are_scores`, and not less than it elsewhere.
    """

    terms: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.float32]
    limits: NDArray[np.float32]
    bounds_are_scores: bool


@jit
def search_range(query, index, alive, k, begin, end):  # type: ignore[no-untyped-def]
    """Scores and documents of the k best of documents begin:end, in no order; an empty `alive` allows all."""
    n = len(query.terms)
    starts, ends = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        first, last = index.indptr[query.terms[i]], index.indptr[query.terms[i] + 1]
        ends[i] = _first_at(index.docs, first, last, begin)
    bounds = np.empty(min(_CHUNK, end - begin), np.float32)
    scores, docs, size = np.zeros(k, np.float32), np.zeros(k, np.int64), 0
    for first in range(begin, end, _CHUNK):
        last = min(first + _CHUNK, end)
        bounds[:] = 0
        for i in range(n):
            starts[i] = ends[i]
            ends[i] = _first_at(index.docs, starts[i], index.indptr[query.terms[i] + 1], last)
            if query.columns[i] >= 0:
                _add(bounds, query.limits[i], index.columns[query.columns[i], first:last])
            else:
                own = slice(starts[i], ends[i])
                _scatter(bounds, query.weights[i], index.docs[own], index.impacts[own], first)
        size = _collect(bounds[: last - first], first, query, index, starts, ends, alive, scores, docs, size)
    return scores[:size], docs[:size]


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
def _add(bounds, weight, steps):  # type: ignore[no-untyped-def]
    for i in range(len(steps)):
        bounds[i] += weight * np.float32(steps[i])


@jit
def _scatter(bounds, weight, docs, impacts, first):  # type: ignore[no-untyped-def]
    for p in range(len(docs)):
        # Unsigned: numba asks of every signed index whether it is negative.
        bounds[np.uint32(docs[p] - first)] += weight * np.float32(impacts[p])


@jit
def _collect(bounds, first, query, index, starts, ends, alive, scores, docs, size):  # type: ignore[no-untyped-def]
    # Bits of floats >= 0 order as the floats do, and a maximum of integers is a vector instruction.
    bits, least = bounds.view(np.int32), scores[:1].view(np.int32)
    for begin in range(0, len(bounds), _GROUP):
        end, largest = min(begin + _GROUP, len(bounds)), np.int32(0)
        for i in range(begin, end):
            largest = max(largest, bits[i])
        if largest <= (least[0] if size == len(scores) else 0):
            continue
        for i in range(begin, end):
            # A later document with the score of the last of the k ranks behind it.
            if bounds[i] <= (scores[0] if size == len(scores) else 0) or (len(alive) and not alive[first + i]):
                continue
            score = bounds[i] if query.bounds_are_scores else _score(query, index, starts, ends, first + i)
            if score > 0:
                size = push(scores, docs, size, score, first + i)
    return size


@jit
def _score(query, index, starts, ends, doc):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for i in range(len(starts)):
        p = _first_at(index.docs, starts[i], ends[i], doc)
        if p < ends[i] and index.docs[p] == doc:
            total += query.weights[i] * np.float32(index.impacts[p])
    return total
