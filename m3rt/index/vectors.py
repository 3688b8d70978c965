"""Vectors as an index stores them, and their kernels: a table of precisions for dense, one for ColBERT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from m3rt_kernels import (
    dense_scores as dense_scores_of,
)
from m3rt_kernels import (
    dense_top_k,
    dense_top_k_binary,
    dense_top_k_int8,
    maxsim_binary,
    maxsim_int8,
    pack_bits,
    quantize_int8,
    top_k,
)
from numpy.typing import NDArray

from .columns import Arrays
from .precisions import Part

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
Alive = NDArray[np.bool_] | None

RESCORED = 8  # rows that sign bits choose for each row that int8 codes then rank


def encode(vectors: NDArray[np.float32], parts: Mapping[str, Part]) -> dict[str, NDArray[Any]]:
    """The arrays that store `vectors` (n, dim) float32, by their names in a precision's table."""
    found: dict[str, NDArray[Any]] = {}
    if "vectors" in parts:
        found["vectors"] = vectors
    if "codes" in parts:
        found["codes"], found["scales"] = quantize_int8(vectors)
    if "bits" in parts:
        found["bits"] = pack_bits(vectors)
    return found


def dense_search(arrays: Arrays, query: NDArray[np.float32], k: int, alive: Alive) -> Found:
    """The k best rows for `query` (dim,) and their scores."""
    if "dense.bits" in arrays and "dense.codes" in arrays:
        rows, _ = _dense_scan(arrays, query, k * RESCORED, alive)
        return _best(rows, dense_scores(arrays, query, rows), k)
    return _dense_scan(arrays, query, k, alive)


def dense_scores(arrays: Arrays, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Dot products of `query` (dim,) with `rows`, by the most exact vectors that are stored."""
    if "dense.vectors" in arrays:
        return dense_scores_of(query, arrays["dense.vectors"], rows)
    if "dense.codes" in arrays:
        return dense_scores_of(query, arrays["dense.codes"], rows, scales=arrays["dense.scales"])
    # The kernel's own estimate: the rows that are asked for are all that may be found.
    taken = np.ascontiguousarray(arrays["dense.bits"][rows])
    order, scores = dense_top_k_binary(query[None], taken, max(len(rows), 1))
    found = np.empty(len(rows), np.float32)
    found[order[0]] = scores[0]
    return found


def colbert_search(arrays: Arrays, query: NDArray[np.float32], k: int, alive: Alive) -> Found:
    """The k best rows for `query` (tokens, dim): every living row is scored."""
    rows = np.arange(len(arrays["colbert.offsets"]) - 1) if alive is None else np.flatnonzero(alive)
    if "colbert.bits" in arrays:
        scores = maxsim_binary(query, arrays["colbert.bits"], arrays["colbert.offsets"], documents=rows)
        if "colbert.codes" not in arrays:
            return _best(rows, scores, k)
        rows, _ = _best(rows, scores, k * RESCORED)
    return _best(rows, colbert_scores(arrays, query, rows), k)


def colbert_scores(arrays: Arrays, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """MaxSim of `query` (tokens, dim) with `rows`, by the most exact vectors that are stored."""
    offsets = arrays["colbert.offsets"]
    if "colbert.codes" in arrays:
        return maxsim_int8(query, arrays["colbert.codes"], arrays["colbert.scales"], offsets, documents=rows)
    return maxsim_binary(query, arrays["colbert.bits"], offsets, documents=rows)


def _dense_scan(arrays: Arrays, query: NDArray[np.float32], k: int, alive: Alive) -> Found:
    for name, scan in _SCANS.items():
        if name in arrays:
            rows, scores = scan(arrays, query[None], k, alive)
            return rows[0], scores[0]
    raise KeyError("dense")


# Bits before codes: where both are stored, bits choose and codes rank.
_SCANS: dict[str, Callable[[Arrays, NDArray[np.float32], int, Alive], Found]] = {
    "dense.vectors": lambda a, q, k, alive: dense_top_k(q, a["dense.vectors"], k, alive=alive),
    "dense.bits": lambda a, q, k, alive: dense_top_k_binary(q, a["dense.bits"], k, alive=alive),
    "dense.codes": lambda a, q, k, alive: dense_top_k_int8(q, a["dense.codes"], a["dense.scales"], k, alive=alive),
}


def _best(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Found:
    order, best = top_k(scores, k)
    return rows[order], best
