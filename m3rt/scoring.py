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
    """MaxSim of one query (nq, dim) and one passage (np, dim): mean over query tokens of the best match.

    Raises InputError for what is no matrix of finite numbers, or of two widths.
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
    """Sum over shared token ids of the product of weights: a float for two mappings, (n, m) for two lists.

    Lists are summed in float32. Raises InputError for a mapping beside a list and for weights that are not finite.
    """
    one, single = mappings("lexical_weights_1", lexical_weights_1)
    two, other_single = mappings("lexical_weights_2", lexical_weights_2)
    if single != other_single:
        raise InputError("lexical weights are a mapping and a list, expected two mappings or two lists")
    places: dict[Any, int] = {}
    rows, columns = _rows("lexical_weights_1", one, places), _rows("lexical_weights_2", two, places)
    return _lexical(one[0], two[0]) if single else sparse_dot(*rows, *columns).astype(np.float64)


def mappings(name: str, given: object) -> tuple[list[dict[Any, Any]], bool]:
    """Lexical weights as dictionaries, and whether one was given alone. Raises InputError."""
    wanted = "a mapping {token: weight}"
    if isinstance(given, Mapping):
        return [mapping_of(name, given, wanted)], True
    rows = listed(name, given, f"{wanted} or a list of them")
    return [mapping_of(f"{name} {i}", row, wanted) for i, row in enumerate(rows)], False


def _rows(
    name: str, texts: Sequence[Mapping[Any, float]], places: dict[Any, int]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """CSR rows of mappings; a token's id is its place among the tokens seen so far, whatever its type."""
    indptr = offsets_of(map(len, texts))
    tokens = [places.setdefault(token, len(places)) for text in texts for token in text]
    ids = np.array(tokens, np.int32)
    weights = [weight for text in texts for weight in text.values()]
    values = numbers(f"the list of weights in {name}", weights, 1, "finite numbers", np.float32)
    order = np.lexsort((ids, np.repeat(np.arange(len(texts)), np.diff(indptr))))
    return indptr, ids[order], values[order]


def _lexical(one: Mapping[Any, float], two: Mapping[Any, float]) -> float:
    return float(sum(weight * two[token] for token, weight in one.items() if token in two))


def pair_scores(
    queries: Embeddings, passages: Embeddings, weights: Sequence[float] | None = None
) -> dict[str, list[float]]:
    """Scores of query i with passage i in FlagEmbedding's five modes; both need all three outputs."""
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


def _sparse_rows(one: SparseVectors, two: SparseVectors) -> NDArray[np.float32]:
    return sparse_dot_rows(one.indptr, one.indices, one.values, two.indptr, two.indices, two.values)


def _all_three(e: Embeddings) -> tuple[NDArray[np.float32], SparseVectors, MultiVectors]:
    if e.dense_vecs is None or e.sparse is None or e.multi is None:
        raise InputError("scores in all modes need embeddings with dense, sparse and ColBERT outputs")
    return e.dense_vecs, e.sparse, e.multi


def check_weights(weights: object) -> tuple[float, float, float]:
    """weights_for_different_modes as three numbers, 1 where there are none. Raises InputError."""
    if weights is None:
        return 1.0, 1.0, 1.0
    name, wanted = "weights_for_different_modes", "three finite numbers >= 0 for dense, sparse, colbert"
    try:
        wd, ws, wc = numbers(name, weights, 1, wanted, np.float64).tolist()
    except ValueError:  # not three, or no numbers, which is an InputError
        wd = ws = wc = -1.0
    if min(wd, ws, wc) < 0 or not wd + ws > 0:
        raise InputError(f"{name} is {shown(weights)}, expected {wanted}, the first two not both 0")
    return wd, ws, wc
