"""Exact search over dense vectors: float32 and float16, int8 with a scale for each row, sign bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_alive, check_array, check_finite, check_k, readonly
from ..parallel import thread_count
from ..top_k import best
from .dots import dots, sign_dots

TopK = tuple[NDArray[np.int64], NDArray[np.float32]]
_QUERIES_AT_A_TIME = 16  # the scores of all rows for so many queries are kept at a time


def dense_top_k(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32] | NDArray[np.float16],
    k: int,
    *,
    alive: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> TopK:
    """Find the k vectors with the largest dot product for each query, exactly.

    queries (nq, dim) float32, finite; vectors (n, dim) float32 or float16; alive (n,) bool marks the rows that
    may be returned. Returns fresh docs (nq, k') int64 and scores (nq, k') float32, best first, ties by the lower doc,
    k' = min(k, how many are alive). Raises ValueError when arguments do not fit or a score is NaN.
    """
    check_array("vectors", vectors, (np.float32, np.float16), 2)
    return _search(dots, queries, vectors, vectors.shape[1], None, k, alive, threads)


def dense_top_k_int8(
    queries: NDArray[np.float32],
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    k: int,
    *,
    alive: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> TopK:
    """`dense_top_k` of codes (n, dim) int8 times scales (n,) float32, as quantize_int8 makes them.

    Queries stay float32, so the only error is that of the codes, half a scale for each component.
    """
    check_array("codes", codes, np.int8, 2)
    _check_of_rows("scales", scales, len(codes))
    return _search(dots, queries, codes, codes.shape[1], scales, k, alive, threads)


def dense_top_k_binary(
    queries: NDArray[np.float32],
    bits: NDArray[np.uint8],
    k: int,
    *,
    factors: NDArray[np.float32] | None = None,
    offsets: NDArray[np.float32] | None = None,
    alive: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> TopK:
    """`dense_top_k` of signs, bits (n, dim // 8) uint8 as pack_bits makes them: query . signs / sqrt(dim).

    That is the cosine of a unit query and the signs. With factors and offsets, (n,) float32 each, a row's score is
    query . signs * factor + offset, as quantize_centred makes them. Only the documents are cut to
    bits: if the query were too (Hamming distance), fewer of the true neighbours would be found. Rescore the best with
    `dense_scores`.
    """
    check_array("bits", bits, np.uint8, 2)
    for name, array in (("factors", factors), ("offsets", offsets)):
        if array is not None:
            _check_of_rows(name, array, len(bits))
    if factors is not None:
        return _search(sign_dots, queries, bits, 8 * bits.shape[1], factors, k, alive, threads, offsets)
    if offsets is not None:
        raise ValueError("offsets are given without factors, expected both")
    shrink = np.float32(1 / np.sqrt(max(1, 8 * bits.shape[1])))
    docs, scores = _search(sign_dots, queries, bits, 8 * bits.shape[1], None, k, alive, threads)
    return docs, scores * shrink


def dense_scores(
    query: NDArray[np.float32],
    vectors: NDArray[np.float32] | NDArray[np.float16] | NDArray[np.int8],
    documents: NDArray[np.int64],
    *,
    scales: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Multiply query (dim,) float32 with some rows of vectors (n, dim): a fresh (len(documents),) float32.

    documents: the numbers of the rows. int8 vectors are codes and need scales (n,) float32. Raises ValueError for
    documents outside 0..n - 1 and arguments that do not fit.
    """
    check_array("query", query, np.float32, 1)
    check_array("vectors", vectors, (np.float32, np.float16, np.int8), 2)
    check_array("documents", documents, np.int64, 1)
    if len(query) != vectors.shape[1]:
        raise ValueError(f"query has {len(query)} dimensions and vectors {vectors.shape[1]}, expected as many")
    if (scales is None) == (vectors.dtype == np.int8):
        raise ValueError(
            f"scales are {'not ' * (scales is None)}given for {vectors.dtype}: int8 needs them, others none"
        )
    if len(documents) and not 0 <= documents.min() <= documents.max() < len(vectors):
        raise ValueError(f"documents are {documents.min()}..{documents.max()}, expected 0..{len(vectors) - 1}")
    found = np.empty(len(documents), np.float32)
    dots(readonly(query[None]), vectors[documents], found[None], thread_count(threads))
    if scales is None:
        return found
    _check_of_rows("scales", scales, len(vectors))
    return found * scales[documents]


def _check_of_rows(name: str, array: NDArray[np.float32], n: int) -> None:
    check_array(name, array, np.float32, 1)
    if len(array) != n:
        raise ValueError(f"{len(array)} {name} for {n} rows of codes, expected as many")


_Dots = Callable[[NDArray[np.float32], NDArray[Any], NDArray[np.float32], int], None]


def _search(
    product: _Dots,
    queries: NDArray[np.float32],
    rows: NDArray[Any],
    dim: int,
    scales: NDArray[np.float32] | None,
    k: int,
    alive: NDArray[np.bool_] | None,
    threads: int | None,
    offsets: NDArray[np.float32] | None = None,
) -> TopK:
    check_array("queries", queries, np.float32, 2)
    if queries.shape[1] != dim:
        raise ValueError(f"queries are {queries.shape} and vectors ({len(rows)}, {dim}), expected the same dimensions")
    check_finite("queries", queries)
    check_k(k)
    check_alive(alive, len(rows))
    k = min(k, len(rows) if alive is None else int(np.count_nonzero(alive)))
    docs, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for first in range(0, len(queries), _QUERIES_AT_A_TIME):
        group = readonly(queries[first : first + _QUERIES_AT_A_TIME])
        products = np.empty((len(group), len(rows)), np.float32)
        product(group, rows, products, thread_count(threads))
        if scales is not None:
            products *= scales
        if offsets is not None:
            products += offsets
        for i, of_query in enumerate(products, first):
            if np.isnan(of_query).any():
                raise ValueError(f"row {int(np.isnan(of_query).argmax())} scores NaN, expected finite vectors")
            docs[i], scores[i] = best(of_query, k, alive) if k else ((), ())
    return docs, scores
