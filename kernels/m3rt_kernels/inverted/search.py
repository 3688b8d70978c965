"""Exact top-k over posting lists: bound every document, a chunk at a time, and score those that may be among the best.

Adding a byte of a column to sixteen documents takes as long as adding one posting, so it is faster to bound all
documents than to find out which ones need no bound. Scores add the terms in order; bounds add the columns first, four
at a time. Rounding makes the two differ by less than a factor of 1 + n / 2**22 for n terms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiler.jit import jit
from ..top_k import best
from .heap import push
from .postings import Postings

_CHUNK_DOCUMENTS = 1 << 15  # their bounds, 128 KB, stay in the second-level cache
_GROUP_DOCUMENTS = 64  # documents that are skipped together when none of their bounds is high enough


class Query(NamedTuple):
    """The terms of one query in order: places in the index, rows of columns or -1, weights, and limits.

    A column's step times its limit is an upper bound of the term's score.
    """

    terms: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.float32]
    limits: NDArray[np.float32]


@jit
def search_range(query, index, alive, k, begin, end):  # type: ignore[no-untyped-def]
    """Return scores and documents of the k best of documents begin:end, in no order; an empty `alive` allows all."""
    n = len(query.terms)
    starts, ends = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        first, last = index.indptr[query.terms[i]], index.indptr[query.terms[i] + 1]
        ends[i] = _first_at(index.docs, first, last, begin)
    limits, columns = _by_fours(query)
    bounds = np.empty(min(_CHUNK_DOCUMENTS, end - begin), np.float32)
    scores, docs, size = np.zeros(k, np.float32), np.zeros(k, np.int64), 0
    for first in range(begin, end, _CHUNK_DOCUMENTS):
        last = min(first + _CHUNK_DOCUMENTS, end)
        bounds[:] = 0
        for i in range(0, len(columns), 4):
            _add_columns(bounds, limits[i : i + 4], index.columns, columns[i : i + 4], first, last)
        for i in range(n):
            starts[i] = ends[i]
            ends[i] = _first_at(index.docs, starts[i], index.indptr[query.terms[i] + 1], last)
            if query.columns[i] < 0:
                postings = slice(starts[i], ends[i])
                _add_postings(bounds, query.weights[i], index.docs[postings], index.impacts[postings], first)
        size = _collect(bounds[: last - first], first, query, index, starts, ends, alive, scores, docs, size)
    return scores[:size], docs[:size]


def search_range_numpy(
    query: Query, index: Postings, alive: NDArray[np.bool_] | None, k: int, n_docs: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """search_range over all documents, without columns; returns docs and scores, best first."""
    sums = np.zeros(n_docs, np.float32)
    for term, weight in zip(query.terms, query.weights, strict=True):
        postings = slice(index.indptr[term], index.indptr[term + 1])
        sums[index.docs[postings]] += weight * index.impacts[postings]
    docs, scores = best(sums, k, alive)
    return docs[scores > 0], scores[scores > 0]


@jit
def _first_at(docs, low, high, doc):  # type: ignore[no-untyped-def]
    """Return the first place in docs[low:high], which rise, of a document >= doc."""
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
def _by_fours(query):  # type: ignore[no-untyped-def]
    """Return limits and columns of the terms that have one, filled up to a multiple of four with limits of zero."""
    terms = np.flatnonzero(query.columns >= 0)
    limits, columns = np.zeros((len(terms) + 3) // 4 * 4, np.float32), np.zeros((len(terms) + 3) // 4 * 4, np.int64)
    limits[: len(terms)] = query.limits[terms]
    for i in range(len(columns)):
        columns[i] = query.columns[terms[min(i, len(terms) - 1)]]
    return limits, columns


@jit
def _add_columns(bounds, limits, steps, columns, first, last):  # type: ignore[no-untyped-def]
    a, b, c, d = limits[0], limits[1], limits[2], limits[3]
    one, two = steps[columns[0], first:last], steps[columns[1], first:last]
    three, four = steps[columns[2], first:last], steps[columns[3], first:last]
    for i in range(len(one)):
        bounds[i] += (a * np.float32(one[i]) + b * np.float32(two[i])) + (
            c * np.float32(three[i]) + d * np.float32(four[i])
        )


@jit
def _add_postings(bounds, weight, docs, impacts, first):  # type: ignore[no-untyped-def]
    for p in range(len(docs)):
        # The index is unsigned: for a signed one numba would test at each access whether it is negative.
        bounds[np.uint32(docs[p] - first)] += weight * impacts[p]


@jit
def _collect(bounds, first, query, index, starts, ends, alive, scores, docs, size):  # type: ignore[no-untyped-def]
    # Bits of floats >= 0 are ordered as the floats are, and a maximum of integers is one vector instruction.
    bits, slack = bounds.view(np.int32), np.float32(1 - (len(starts) + 2) / 2**22)
    least = np.zeros(1, np.float32)
    for begin in range(0, len(bounds), _GROUP_DOCUMENTS):
        end, largest = min(begin + _GROUP_DOCUMENTS, len(bounds)), np.int32(0)
        for i in range(begin, end):
            largest = max(largest, bits[i])
        least[0] = scores[0] * slack if size == len(scores) else np.float32(0)
        if largest == 0 or largest < least.view(np.int32)[0]:
            continue
        for i in range(begin, end):
            if bounds[i] >= least[0] and bounds[i] > 0 and (len(alive) == 0 or alive[first + i]):
                score = _score(query, index, starts, ends, first + i)
                if score > 0:
                    size = push(scores, docs, size, score, first + i)
                    least[0] = scores[0] * slack if size == len(scores) else np.float32(0)
    return size


@jit
def _score(query, index, starts, ends, doc):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for i in range(len(starts)):
        p = _first_at(index.docs, starts[i], ends[i], doc)
        if p < ends[i] and index.docs[p] == doc:
            total += query.weights[i] * index.impacts[p]
    return total
