"""Embedded vector databases over the corpus of hybrid.py: dense vectors and lexical weights, fused by ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m3rt import Embeddings, SparseVectors

from .corpus import DIM, Corpus

Search = Callable[[Embeddings], list[int]]  # the ten best documents


def qdrant(path: Path, corpus: Corpus) -> Search:
    """Qdrant's local mode keeps its vectors in this process's memory; its search is exact."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    client.create_collection(
        "docs",
        vectors_config={"dense": models.VectorParams(size=DIM, distance=models.Distance.DOT)},
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    for first, out in corpus.batches():
        assert out.dense_vecs is not None
        assert out.sparse is not None
        points = [
            models.PointStruct(
                id=first + i, vector={"dense": vector.tolist(), "sparse": _qdrant(out.sparse, i, models)}
            )
            for i, vector in enumerate(out.dense_vecs)
        ]
        client.upsert("docs", points)

    def search(query: Embeddings) -> list[int]:
        assert query.dense_vecs is not None
        assert query.sparse is not None
        result = client.query_points(
            "docs",
            prefetch=[
                models.Prefetch(query=query.dense_vecs[0].tolist(), using="dense", limit=100),
                models.Prefetch(query=_qdrant(query.sparse, 0, models), using="sparse", limit=100),
            ],
            query=models.RrfQuery(rrf=models.Rrf(k=60)),
            limit=10,
        )
        return [int(point.id) for point in result.points]

    return search


def milvus(path: Path, corpus: Corpus) -> Search:
    """Milvus Lite keeps a file; the indexes are FLAT and SPARSE_INVERTED_INDEX."""
    from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker

    fresh = not path.exists()
    client = MilvusClient(str(path))
    if fresh:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        indexes = client.prepare_index_params()
        indexes.add_index("dense", index_type="FLAT", metric_type="IP")
        indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        client.create_collection("docs", schema=schema, index_params=indexes)
        for first, out in corpus.batches():
            assert out.dense_vecs is not None
            rows = [
                {"id": first + i, "dense": vector, "sparse": weights}
                for i, (vector, weights) in enumerate(zip(out.dense_vecs, out.lexical_weights or (), strict=True))
            ]
            client.insert("docs", rows)
    client.load_collection("docs")

    def search(query: Embeddings) -> list[int]:
        assert query.dense_vecs is not None
        views: Mapping[str, Any] = {"dense": query.dense_vecs[:1], "sparse": query.lexical_weights}
        requests = [
            AnnSearchRequest(list(data), view, {"metric_type": "IP"}, limit=100) for view, data in views.items()
        ]
        (hits,) = client.hybrid_search("docs", requests, RRFRanker(60), limit=10)
        return [int(hit["id"]) for hit in hits]

    return search


PEERS: Mapping[str, Callable[[Path, Corpus], Search]] = {"qdrant": qdrant, "milvus": milvus}
PACKAGES = {"qdrant": ("qdrant-client",), "milvus": ("pymilvus", "milvus-lite")}


def _qdrant(sparse: SparseVectors, i: int, models: Any) -> Any:
    ids, weights = sparse.row(i)
    return models.SparseVector(indices=ids.tolist(), values=weights.tolist())
