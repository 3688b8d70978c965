"""Scores between embeddings, with FlagEmbedding's names and definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from m3rt_kernels import intersect_dot, maxsim
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
    """Sum over shared token ids of the product of weights: a float for two mappings, (n, m) for two lists."""
    one, two = lexical_weights_1, lexical_weights_2
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return _lexical(one, two)
    if isinstance(one, Mapping) or isinstance(two, Mapping):
        raise InputError("lexical weights are a mapping and a list, expected two mappings or two lists")
    return np.array([[_lexical(a, b) for b in two] for a in one], np.float64).reshape(len(one), len(two))


def _lexical(one: Mapping[Any, float], two: Mapping[Any, float]) -> float:
    return float(sum(weight * two[token] for token, weight in one.items() if token in two))


def pair_scores(
    queries: Embeddings, passages: Embeddings, weights: Sequence[float] | None = None
) -> dict[str, list[float]]:
    """Scores of query i with passage i in FlagEmbedding's five modes; both need all three outputs."""
    wd, ws, wc = _weights(weights)
    (q_dense, q_sparse, q_multi), (p_dense, p_sparse, p_multi) = _all_three(queries), _all_three(passages)
    dense = np.einsum("nd,nd->n", q_dense, p_dense)
    rows = range(len(queries))
    sparse = np.array([intersect_dot(*q_sparse.row(i), *p_sparse.row(i)) for i in rows], np.float64)
    colbert = np.array([colbert_score(q_multi.row(i), p_multi.row(i)) for i in rows], np.float64)
    modes = {
        "colbert": colbert,
        "sparse": sparse,
        "dense": dense,
        "sparse+dense": (ws * sparse + wd * dense) / (ws + wd),
        "colbert+sparse+dense": (wc * colbert + ws * sparse + wd * dense) / (wd + ws + wc),
    }
    return {mode: values.tolist() for mode, values in modes.items()}


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
