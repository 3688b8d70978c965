"""Lexical weights as an index stores them: rows for exact scores, an inverted index to search."""

from __future__ import annotations

from typing import Any

import numpy as np
from m3rt_kernels import InvertedIndex
from numpy.typing import NDArray

from .columns import Arrays, ragged
from .vectors import Alive, Found

Terms = tuple[NDArray[np.int32], NDArray[np.float32]]  # sorted token ids and their weights
_PREFIX = "inverted."


def invert(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of the inverted index over a segment's rows."""
    built = InvertedIndex.build(arrays["sparse.offsets"], arrays["sparse.indices"], arrays["sparse.values"])
    return {_PREFIX + name: array for name, array in built.arrays().items()}


def inverted(arrays: Arrays) -> InvertedIndex:
    """The inverted index that invert() made."""
    parts = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
    return InvertedIndex.from_arrays(parts)


def sparse_search(index: InvertedIndex, query: Terms, k: int, alive: Alive) -> Found:
    """The k best rows that share a term with the query, and their scores."""
    return index.search(*query, k, alive=alive)


def sparse_scores(arrays: Arrays, query: Terms, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The sum over shared terms of the product of weights, for each of `rows`."""
    places = ragged(arrays["sparse.offsets"], rows)
    products = _products(query, arrays["sparse.indices"][places], arrays["sparse.values"][places])
    lengths = arrays["sparse.offsets"][rows + 1] - arrays["sparse.offsets"][rows]
    owners = np.repeat(np.arange(len(rows)), lengths)
    return np.bincount(owners, products, len(rows)).astype(np.float32)


def shared_terms(arrays: Arrays, query: Terms, row: int) -> dict[int, float]:
    """What each term that a row shares with the query adds to its score, the largest first."""
    part = slice(*arrays["sparse.offsets"][row : row + 2])
    ids = arrays["sparse.indices"][part]
    products = _products(query, ids, arrays["sparse.values"][part])
    order = np.argsort(-products, kind="stable")[: np.count_nonzero(products)]
    return dict(zip(ids[order].tolist(), products[order].tolist(), strict=True))


def _products(query: Terms, ids: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    terms, weights = query
    if not len(terms):
        return np.zeros(len(ids), np.float32)
    places = np.minimum(np.searchsorted(terms, ids), len(terms) - 1)
    return np.where(terms[places] == ids, weights[places], np.float32(0)) * values
