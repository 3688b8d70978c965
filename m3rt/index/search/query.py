"""A query: the embeddings of one text, checked against the settings of an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...bundle.heads import HEAD_NAMES
from ...embeddings import Embeddings
from ...errors import InputError
from ..checks import are_token_ids, is_finite
from ..store.manifest import Settings
from ..store.precisions import COLBERT, DENSE
from ..store.rows import RowMask, ScoredRows
from ..store.segment import Segment
from .lexical import SparseQuery
from .vectors import ColbertQuery, DenseQuery


class QueryView(Protocol):
    """One of the three views of a query, which can search a segment and score its rows."""

    def find(self, segment: Segment, k: int, mask: RowMask) -> ScoredRows: ...
    def score(self, segment: Segment, rows: NDArray[np.int64]) -> NDArray[np.float32]: ...


QueryViews = Mapping[str, QueryView]  # by "dense", "sparse", "colbert"


def query_of(
    out: Embeddings, i: int, views: Sequence[str], settings: Settings, threads: int | None, *, exact: bool = False
) -> QueryViews:
    """The views of text i that a search needs; exact: as DenseQuery takes it.

    Raises InputError for one that is missing, not finite or too wide.
    """
    makers: Mapping[str, Callable[..., QueryView]] = {
        "dense": partial(_dense, exact=exact),
        "sparse": _sparse,
        "colbert": _colbert,
    }
    return {view: makers[view](out, i, settings, threads) for view in views}


def _dense(out: Embeddings, i: int, settings: Settings, threads: int | None, *, exact: bool) -> QueryView:
    vector = _floats("dense", i, None if out.dense_vecs is None else out.dense_vecs[i], settings.dense_dim)
    return DenseQuery(vector, DENSE[str(settings.dense)], threads, exact)


def _sparse(out: Embeddings, i: int, settings: Settings, threads: int | None) -> QueryView:
    ids, weights = out.sparse.row(i) if out.sparse is not None else (np.zeros(0, np.int32), None)
    weights = _floats("sparse", i, weights)
    if (ids[1:] <= ids[:-1]).any() or not are_token_ids(ids) or (weights < 0).any():
        raise InputError(f"the lexical weights of query {i} need token ids, sorted and distinct, and weights >= 0")
    return SparseQuery(np.ascontiguousarray(ids, np.int32), weights, threads)


def _colbert(out: Embeddings, i: int, settings: Settings, threads: int | None) -> QueryView:
    vectors = _floats("colbert", i, None if out.multi is None else out.multi.row(i), settings.colbert_dim)
    return ColbertQuery(vectors, COLBERT[str(settings.colbert)], threads)


def _floats(view: str, i: int, values: NDArray[Any] | None, width: int | None = None) -> NDArray[np.float32]:
    if values is None:
        raise InputError(f"query {i} has no {view} output, which this search needs; encode it with {HEAD_NAMES[view]}")
    if width is not None and values.shape[-1] != width:
        raise InputError(f"the {view} vectors of query {i} have {values.shape[-1]} components, expected {width}")
    if not is_finite(values):
        raise InputError(f"the {view} output of query {i} is not finite")
    return np.ascontiguousarray(values, np.float32)
