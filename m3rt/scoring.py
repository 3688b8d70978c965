"""Scores between embeddings, with FlagEmbedding's names and definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from m3rt_kernels import maxsim, sparse_dot, sparse_dot_rows
from numpy.typing import NDArray

from .embeddings import Embeddings, MultiVectors, SparseVectors
from .errors import InputError
from .values.arguments import mapping_of
from .values.floats import numbers
from .values.listing import listed
from .values.ragged import offsets_of
from .values.shown import shown


def colbert_score(q_reps: NDArray[np.float32], p_reps: NDArray[np.float32]) -> float:
    """Compute MaxSim of a query (nq, dim) and a passage (np, dim): the mean over query tokens of their best match.

    Raises InputError unless both are matrices of finite numbers with the same width.
    """
    wanted = "a matrix of finite numbers, a row for each token"
    query, passage = (
        numbers(name, reps, 2, wanted, np.float32) for name, reps in (("q_reps", q_reps), ("p_reps", p_reps))
    )
    try:
        return float(maxsim(query, passage, np.array([0, len(passage)]))[0])
    except ValueError as error:
        raise InputError(str(error)) from None


def lexical_matching_score(
    lexical_weights_1: Mapping[Any, float] | Iterable[Mapping[Any, float]],
    lexical_weights_2: Mapping[Any, float] | Iterable[Mapping[Any, float]],
) -> float | NDArray[np.float64]:
    """Sum the products of weights over shared token ids: a float for two mappings, (n, m) for two lists.

    Lists are summed in float32. Raises InputError for a mapping beside a list, and for weights that are not finite.
    """
    weights_1, single_1 = mappings("lexical_weights_1", lexical_weights_1)
    weights_2, single_2 = mappings("lexical_weights_2", lexical_weights_2)
    if single_1 != single_2:
        raise InputError("lexical weights are a mapping and a list, expected two mappings or two lists")
    places: dict[Any, int] = {}
    rows = _rows("lexical_weights_1", weights_1, places)
    columns = _rows("lexical_weights_2", weights_2, places)
    return _lexical(weights_1[0], weights_2[0]) if single_1 else sparse_dot(*rows, *columns).astype(np.float64)


def mappings(name: str, value: object) -> tuple[list[dict[Any, Any]], bool]:
    """Return lexical weights as dictionaries, and whether one mapping came alone. Raises InputError."""
    wanted = "a mapping {token: weight}"
    if isinstance(value, Mapping):
        return [mapping_of(name, value, wanted)], True
    rows = listed(name, value, f"{wanted} or a list of them")
    return [mapping_of(f"{name} {i}", row, wanted) for i, row in enumerate(rows)], False


def _rows(
    name: str, texts: Sequence[Mapping[Any, float]], places: dict[Any, int]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Make CSR rows of mappings; a token of any type gets its place among the tokens seen so far as its id."""
    indptr = offsets_of(map(len, texts))
    tokens = [places.setdefault(token, len(places)) for text in texts for token in text]
    ids = np.array(tokens, np.int32)
    weights = [weight for text in texts for weight in text.values()]
    values = numbers(f"the list of weights in {name}", weights, 1, "finite numbers", np.float32)
    order = np.lexsort((ids, np.repeat(np.arange(len(texts)), np.diff(indptr))))
    return indptr, ids[order], values[order]


def _lexical(query: Mapping[Any, float], passage: Mapping[Any, float]) -> float:
    return float(sum(weight * passage[token] for token, weight in query.items() if token in passage))


def pair_scores(
    queries: Embeddings, passages: Embeddings, weights: Sequence[float] | None = None
) -> dict[str, list[float]]:
    """Score query i with passage i in FlagEmbedding's five modes; both need all three outputs."""
    wd, ws, wc = check_weights(weights)
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


def _sparse_rows(q: SparseVectors, p: SparseVectors) -> NDArray[np.float32]:
    return sparse_dot_rows(q.indptr, q.indices, q.values, p.indptr, p.indices, p.values)


def _all_three(e: Embeddings) -> tuple[NDArray[np.float32], SparseVectors, MultiVectors]:
    if e.dense_vecs is None or e.sparse is None or e.multi is None:
        raise InputError("scores in all modes need embeddings with dense, sparse and ColBERT outputs")
    return e.dense_vecs, e.sparse, e.multi


def check_weights(weights: object) -> tuple[float, float, float]:
    """Return weights_for_different_modes as three numbers, each 1 for None. Raises InputError."""
    if weights is None:
        return 1.0, 1.0, 1.0
    name, wanted = "weights_for_different_modes", "three finite numbers >= 0 for dense, sparse, colbert"
    try:
        wd, ws, wc = numbers(name, weights, 1, wanted, np.float64).tolist()
    except ValueError:  # not three numbers; InputError is a ValueError, too
        wd = ws = wc = -1.0
    if min(wd, ws, wc) < 0 or not wd + ws > 0:
        raise InputError(f"{name} is {shown(weights)}, expected {wanted}, the first two not both 0")
    return wd, ws, wc
