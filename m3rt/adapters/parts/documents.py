"""Documents on their way into a database: ids, embeddings, texts and metadata, checked once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...embeddings import Embeddings, SparseVectors
from ...errors import InputError
from ...index.store.keys import check_ids
from ...values.counts import counted
from ...values.listing import listed
from ...values.shown import a_kind, shown
from ...values.texts import check_texts
from .layout import Layout

_json = json.JSONEncoder(allow_nan=False).encode  # json.dumps() would make an encoder for each row


@dataclass(frozen=True, slots=True)
class Documents:
    """n documents, their lexical weights all above 0; the views of document i as plain values of Python."""

    embeddings: Embeddings
    ids: list[str]
    texts: list[str] | None
    metadata: list[Mapping[str, Any] | None] | None

    @classmethod
    def of(
        cls,
        embeddings: Embeddings,
        ids: Iterable[str],
        texts: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        layout: Layout | None = None,
    ) -> Self:
        """layout: keep its views alone. Raises InputError for what does not fit together or does not fit the layout."""
        if not isinstance(embeddings, Embeddings):
            raise InputError(f"embeddings is {a_kind(embeddings)}, expected the Embeddings that encode() returns")
        names = check_ids(ids)
        kept = (layout or _layout(embeddings)).fitted(embeddings, len(names))
        if kept.sparse is not None:
            kept = replace(kept, sparse=_positive(kept.sparse))
        return cls(kept, names, _texts(texts, len(names)), _metadata(metadata, names))

    def __len__(self) -> int:
        return len(self.ids)

    def dense(self, i: int) -> list[float] | None:
        """The components, None where the embeddings have no dense vectors."""
        vectors = self.embeddings.dense_vecs
        return None if vectors is None else vectors[i].tolist()

    def sparse(self, i: int) -> dict[int, float] | None:
        """{token id: weight}, ids rising."""
        pair = self.weights(i)
        return None if pair is None else dict(zip(*pair, strict=True))

    def weights(self, i: int) -> tuple[list[int], list[float]] | None:
        """Token ids, rising, and the weight of each."""
        if self.embeddings.sparse is None:
            return None
        tokens, weights = self.embeddings.sparse.row(i)
        return tokens.tolist(), weights.tolist()

    def colbert(self, i: int) -> list[list[float]] | None:
        """A vector for each token."""
        return None if self.embeddings.multi is None else self.embeddings.multi.row(i).tolist()

    def payload(self, i: int) -> dict[str, Any]:
        """id, and text and metadata where there are any: what comes back with a hit."""
        found: dict[str, Any] = {"id": self.ids[i]}
        if self.texts is not None:
            found["text"] = self.texts[i]
        if self.metadata is not None:
            found["metadata"] = dict(self.metadata[i] or {})
        return found


def _positive(sparse: SparseVectors) -> SparseVectors:
    """The weights above 0, which is usually all of them."""
    kept = sparse.values > 0
    if kept.all():
        return sparse
    indptr = np.concatenate([[0], np.cumsum(kept)])[sparse.indptr]
    return SparseVectors(indptr.astype(np.int64), sparse.indices[kept], sparse.values[kept])


def heaviest(sparse: SparseVectors, max_nnz: int) -> tuple[SparseVectors, NDArray[np.int64]]:
    """Rows of at most max_nnz weights, the largest, and how many each row lost, (n,) int64.

    Of equal weights those of smaller token ids stay.
    """
    lengths = np.diff(sparse.indptr)
    rows = np.repeat(np.arange(len(sparse)), lengths)
    order = np.lexsort((sparse.indices, -sparse.values, rows))
    places = np.arange(len(order)) - np.repeat(sparse.indptr[:-1], lengths)
    kept = np.sort(order[places < max_nnz])
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, max_nnz))]).astype(np.int64)
    cut = np.maximum(lengths - max_nnz, 0).astype(np.int64)
    return SparseVectors(indptr, sparse.indices[kept], sparse.values[kept]), cut


def _layout(out: Embeddings) -> Layout:
    """The layout of what the embeddings have."""
    sparse = out.sparse
    return Layout(
        None if out.dense_vecs is None else out.dense_vecs.shape[1],
        None if sparse is None else int(sparse.indices.max(initial=0)) + 1,
        None if out.multi is None else out.multi.vectors.shape[1],
    )


def _texts(texts: Iterable[str] | None, n: int) -> list[str] | None:
    if texts is None:
        return None
    found = listed("texts", texts)
    check_texts(found)
    _check_length("texts", found, n)
    return found


def _metadata(
    given: Iterable[Mapping[str, Any] | None] | None, ids: list[str]
) -> list[Mapping[str, Any] | None] | None:
    if given is None:
        return None
    found = listed("metadata", given, "a list of JSON objects")
    _check_length("metadata", found, len(ids))
    for name, row in zip(ids, found, strict=True):
        try:
            if row is not None and not isinstance(row, Mapping):
                raise TypeError(f"{a_kind(row)}, no object")
            _json(None if row is None else dict(row))
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"the metadata of id {shown(name)} is not JSON: {error}; use strings and numbers"
            ) from None
    return found


def _check_length(name: str, found: list[Any], n: int) -> None:
    if len(found) != n:
        raise InputError(f"{name} has {counted(len(found), 'item')} for {counted(n, 'id')}, expected as many")
