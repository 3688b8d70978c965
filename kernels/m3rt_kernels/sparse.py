"""Sparse lexical weights: token weights to CSR, and dot products of CSR rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scatter_max(
    ids: NDArray[np.int32], weights: NDArray[np.float32], offsets: NDArray[np.int64], unused: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Token weights of n texts to CSR: a repeated id keeps its largest weight.

    ids and weights (total,) are ragged by offsets (n + 1,). Weights <= 0 and `unused` ids are dropped, as in
    FlagEmbedding's M3Embedder. Returns fresh indptr (n + 1,), indices sorted in each row, values.
    """
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


def intersect_dot(
    ids_a: NDArray[np.int32],
    values_a: NDArray[np.float32],
    ids_b: NDArray[np.int32],
    values_b: NDArray[np.float32],
) -> float:
    """Sum over the ids that two sorted sparse rows share of the product of their values."""
    _, in_a, in_b = np.intersect1d(ids_a, ids_b, assume_unique=True, return_indices=True)
    return float(values_a[in_a] @ values_b[in_b])
