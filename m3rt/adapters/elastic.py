"""Elasticsearch and OpenSearch: actions for the bulk helper of either client, and the mapping of an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from ..embeddings import Embeddings
from ..errors import InputError
from ..values.arguments import choice_of
from ..values.shown import shown
from .parts.documents import Documents
from .parts.layout import Layout

Product = Literal["elasticsearch", "opensearch"]

_PRODUCTS = ("elasticsearch", "opensearch")
_MAX_ID_BYTES = 512
_MAX_DENSE = {"elasticsearch": 4096, "opensearch": 16000}


def to_elastic(
    embeddings: Embeddings,
    ids: Iterable[str],
    texts: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any] | None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Bulk actions {"_id", "_source": {"dense", "sparse", "id", "text", "metadata"}}, one for each document.

    sparse is {"token id": weight}, for fields of either type in elastic_mapping(). The engines keep 9 significant bits
    of a weight, an error of 0.4 %. An empty sparse vector leaves the field out, so sparse queries do not find it.
    ColBERT vectors are left out: neither engine ranks by them at scale; rerank with m3rt.colbert_score, a mean.
    Raises InputError for ids of more than 512 bytes.
    """
    found = Documents.of(embeddings, ids, texts, metadata)
    for name in found.ids:
        if len(name.encode()) > _MAX_ID_BYTES:
            raise InputError(f"id {shown(name)} has {len(name.encode())} bytes, expected at most {_MAX_ID_BYTES}")
    return (_action(found, i) for i in range(len(found)))


def elastic_mapping(layout: Layout, product: Product = "elasticsearch") -> dict[str, Any]:
    """The body that creates an index for to_elastic()'s actions.

    Elasticsearch: dense_vector with the similarity dot_product, and sparse_vector with pruning off, which would drop
    most weights of BGE-M3. OpenSearch: knn_vector with the space innerproduct, and rank_features.
    Raises InputError for vectors that are too wide.
    """
    opensearch = choice_of("product", product, _PRODUCTS) == "opensearch"
    properties: dict[str, Any] = {
        "id": {"type": "keyword"},
        "text": {"type": "text"},
        "metadata": {"type": "flat_object" if opensearch else "flattened"},
    }
    if layout.dense is not None:
        if layout.dense > _MAX_DENSE[product]:
            raise InputError(f"dense is {layout.dense} wide, expected at most {_MAX_DENSE[product]} for {product}")
        properties["dense"] = _dense(layout.dense, opensearch)
    if layout.sparse is not None:
        properties["sparse"] = (
            {"type": "rank_features"} if opensearch else {"type": "sparse_vector", "index_options": {"prune": False}}
        )
    body: dict[str, Any] = {"mappings": {"dynamic": "strict", "properties": properties}}
    return {"settings": {"index": {"knn": True}}, **body} if opensearch else body


def elastic_sparse_query(query: Embeddings, product: Product = "elasticsearch") -> dict[str, Any]:
    """The clause that scores a field "sparse" by the lexical weights of the one text in `query`: their dot product.

    A query without weights finds nothing. Raises InputError for embeddings of more than one text.
    """
    opensearch = choice_of("product", product, _PRODUCTS) == "opensearch"
    found = Documents.of(query, ["query"])
    weights = {str(token): weight for token, weight in (found.sparse(0) or {}).items()}
    if not weights:
        return {"match_none": {}}
    if not opensearch:
        return {"sparse_vector": {"field": "sparse", "query_vector": weights, "prune": False}}
    clauses = [{"rank_feature": {"field": f"sparse.{t}", "boost": w, "linear": {}}} for t, w in weights.items()]
    return {"bool": {"should": clauses}}


def _action(found: Documents, i: int) -> dict[str, Any]:
    source = found.payload(i)
    if (dense := found.dense(i)) is not None:
        source["dense"] = dense
    if sparse := found.sparse(i):
        source["sparse"] = {str(token): weight for token, weight in sparse.items()}
    return {"_id": found.ids[i], "_source": source}


def _dense(dim: int, opensearch: bool) -> dict[str, Any]:
    if opensearch:
        method = {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct"}
        return {"type": "knn_vector", "dimension": dim, "method": method}
    return {"type": "dense_vector", "dims": dim, "index": True, "similarity": "dot_product"}
