"""Scores between embeddings, with FlagEmbedding's names and definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from m3rt_kernels import maxsim, sparse_dot, sparse_dot_rows
from numpy.typing import NDArray

from .embeddings import Embeddings, MultiVectors, SparseVectors
from .errors import InputError


def colbert_score(q_reps: NDArray[np.float32], p_reps: NDArray[np.float32]) -> float:
    """MaxSim of one query (nq, dim) and one passage (np, dim): mean over query tokens of the best match."""
    query, passage = np.asarray(q_reps, np.float32), np.asarray(p_reps, np.float32)
    try:
        return float(maxsim(query, passage, np.array([0, len(passage)]))[0])
    except ValueError as error:
        raise InputError(str(error)) from None


def lexical_matching_score(
    lexical_weights_1: Mapping[Any, float] | Sequence[Mapping[Any, float]],
    lexical_weights_2: Mapping[Any, float] | Sequence[Mapping[Any, float]],
) -> float | NDArray[np.float64]:
    """Sum over shared token ids of the product of weights: a float for two mappings, (n, m) for two lists.

    Lists are summed in float32. Raises InputError for a mapping beside a list and for weights that are not finite.
    """
    one, two = lexical_weights_1, lexical_weights_2
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return _lexical(one, two)
    if isinstance(one, Mapping) or isinstance(two, Mapping):
        raise InputError("lexical weights are a mapping and a list, expected two mappings or two lists")
    places: dict[Any, int] = {}
    try:
        return sparse_dot(*_rows(one, places), *_rows(two, places)).astype(np.float64)
    except ValueError as error:
        raise InputError(str(error)) from None


def _rows(
    texts: Sequence[Mapping[Any, float]], places: dict[Any, int]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """CSR rows of mappings; a token's id is its place among the tokens seen so far, whatever its type."""
    indptr = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    tokens = [places.setdefault(token, len(places)) for text in texts for token in text]
    ids = np.array(tokens, np.int32)
    values = np.array([weight for text in texts for weight in text.values()], np.float32)
    order = np.lexsort((ids, np.repeat(np.arange(len(texts)), np.diff(indptr))))
    return indptr, ids[order], values[order]


def _lexical(one: Mapping[Any, float], two: Mapping[Any, float]) -> float:
    return float(sum(weight * two[token] for token, weight in one.items() if token in two))


def pair_scores(
    queries: Embeddings, passages: Embeddings, weights: Sequence[float] | None = None
) -> dict[str, list[float]]:
    """Scores of query i with passage i in FlagEmbedding's five modes; both need all three outputs."""
    wd, ws, wc = _weights(weights)
    (q_dense, q_sparse, q_multi), (p_dense, p_sparse, p_multi) = _all_three(queries), _all_three(passages)
    dense = np.einsum("nd,nd->n", q_dense, p_dense)
    sparse = _sparse_rows(q_sparse, p_sparse).astype(np.float64)
    colbert = np.array([colbert_score(q_multi.row(i), p_multi.row(i)) for i in range(len(queries))], np.float64)
    modes = {
        "colbert": colbert,
        "sparse": sparse,
        "dense": dense,
        "sparse+dense": (ws * sparse + wd * dense) / (ws + wd),
        "colbert+sparse+dense": (wc * colbert + ws * sparse + wd * dense) / (wd + ws + wc),
    }
    return {mode: values.tolist() for mode, values in modes.items()}


def _sparse_rows(one: SparseVectors, two: SparseVectors) -> NDArray[np.float32]:
    return sparse_dot_rows(one.indptr, one.indices, one.values, two.indptr, two.indices, two.values)


def _all_three(e: Embeddings) -> tuple[NDArray[np.float32], SparseVectors, MultiVectors]:
    if e.dense_vecs is None or e.sparse is None or e.multi is None:
        raise InputError("scores in all modes need embeddings with dense, sparse and ColBERT outputs")
    return e.dense_vecs, e.sparse, e.multi


def _weights(weights: Sequence[float] | None) -> tuple[float, float, float]:
    if weights is None:
        return 1.0, 1.0, 1.0
    if len(weights) != 3 or not np.isfinite(weights).all() or min(weights) < 0 or not weights[0] + weights[1] > 0:
        raise InputError(
            f"weights_for_different_modes is {list(weights)}, expected three finite numbers >= 0 for dense, sparse, "
            "colbert, the first two not both 0"
        )
    wd, ws, wc = map(float, weights)
    return wd, ws, wc
