"""Weaviate: objects with named vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..embeddings import Embeddings
from .parts.documents import Documents
from .parts.uuids import uuid_of


def to_weaviate(
    embeddings: Embeddings,
    ids: Iterable[str],
    texts: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any] | None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Keywords of the client's batch.add_object: {"uuid", "vector": {"dense", "colbert"}, "properties"}.

    colbert goes into a named vector with a MultiVector configuration, where Weaviate's score is the **sum** over query
    tokens of the best match: m3rt's times the number of query tokens. Weaviate takes no sparse vectors, so lexical
    weights are left out, empty or not; its hybrid search is BM25 over the text. An id that is no UUID becomes one that
    is always the same for it; the property "document_id" keeps what was given.
    """
    found = Documents.of(embeddings, ids, texts, metadata)
    return (_object(found, i) for i in range(len(found)))


def _object(found: Documents, i: int) -> dict[str, Any]:
    views = {"dense": found.dense(i), "colbert": found.colbert(i)}
    properties = found.payload(i)
    # Weaviate keeps "id" for itself.
    properties["document_id"] = properties.pop("id")
    return {
        "uuid": uuid_of(found.ids[i]),
        "vector": {name: vectors for name, vectors in views.items() if vectors},
        "properties": properties,
    }
