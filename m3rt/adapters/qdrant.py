"""Qdrant: points with three named vectors, and a collection that searches them."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from ..embeddings import Embeddings
from ..errors import InputError
from ..host.extras import need
from ..index.search.result import Hit
from .parts.collection import RRF_K, Collection, Mode, hit
from .parts.documents import Documents
from .parts.layout import Layout
from .parts.made_by import KEY, check_made_by, record
from .parts.names import check_name
from .parts.place import owning, refuse_key, url_of
from .parts.uuids import uuid_of

_NAME = re.compile(r'[^<>:"/\\|?*\x00-\x1f\x7f]{1,255}')
_SECONDS = 60  # that a server may take to answer
_POINTS = 64  # in a request: with ColBERT vectors a point has megabytes


def to_qdrant(
    embeddings: Embeddings,
    ids: Iterable[str],
    texts: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any] | None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Keywords of PointStruct: {"id", "vector": {"dense", "sparse": {"indices", "values"}, "colbert"}, "payload"}.

    Qdrant's ColBERT score is the **sum** over query tokens of the best match: m3rt's times the number of query tokens.
    An empty sparse vector is kept, and never found by a sparse query. Qdrant holds numbers and UUIDs as ids: a text
    that is no UUID becomes one that is always the same for it, and the payload's "id" keeps the text.
    """
    found = Documents.of(embeddings, ids, texts, metadata)
    return (_point(found, i) for i in range(len(found)))


class QdrantCollection(Collection):
    """A Collection in Qdrant, local or on a server.

    client: a QdrantClient. name: the collection, made if it is not there. "hybrid" fuses dense and sparse candidates
    by reciprocal ranks, or ranks them all by ColBERT where the layout has it; the score is then a sum, see to_qdrant().
    Raises InputError for a collection with another layout or metric, or of another model.
    """

    def __init__(self, client: Any, name: str, layout: Layout) -> None:
        need("qdrant", "qdrant_client", purpose="QdrantCollection")
        check_name(name, _NAME, '1 to 255 characters, none of them a control or one of <>:"/\\|?*')
        self.client, self.name, self.layout = client, name, layout
        if client.collection_exists(name):
            self._check(client.get_collection(name).config)
        else:
            self._create()

    @classmethod
    def at(cls, where: str, name: str, layout: Layout, key: str | None = None) -> Self:
        """The collection in a directory, or on the server of a URL, which may ask for a key."""
        need("qdrant", "qdrant_client", purpose="Qdrant")
        from qdrant_client import QdrantClient

        if url := url_of(where):
            # Its check of versions warns from a thread of its own, beside the one line for a server that is down.
            client = QdrantClient(url, api_key=key, timeout=_SECONDS, check_compatibility=False)
        else:
            refuse_key(key)
            client = QdrantClient(path=where)
        return owning(client, lambda client: cls(client, name, layout))

    def close(self) -> None:
        """Close the client, which lets others open a directory."""
        self.client.close()

    def _there(self, ids: Sequence[str]) -> set[str]:
        points = {uuid_of(name): name for name in ids}
        found = self.client.retrieve(self.name, list(points), with_payload=False)
        return {points[str(point.id)] for point in found}

    def _write(self, found: Documents) -> None:
        from qdrant_client.models import PointStruct, SparseVector

        def point(i: int) -> Any:
            row = _point(found, i)
            if "sparse" in row["vector"]:
                row["vector"]["sparse"] = SparseVector.model_construct(**row["vector"]["sparse"])
            return PointStruct.model_construct(**row)

        # Checked already, component by component: pydantic would take longer for it than all else here.
        for start in range(0, len(found), _POINTS):
            places = range(start, min(start + _POINTS, len(found)))
            self.client.upsert(self.name, list(map(point, places)), wait=True)

    def _search(self, query: Documents, k: int, mode: Mode, candidates: int) -> list[Hit]:
        from qdrant_client import models

        asked = _vectors(query, 0)
        if "sparse" in asked:
            asked["sparse"] = models.SparseVector(**asked["sparse"])
        options: dict[str, Any] = {"query": asked.get(mode), "using": mode}
        if mode == "hybrid":
            first = [view for view in asked if view != "colbert"] or list(asked)
            options["prefetch"] = [models.Prefetch(query=asked[view], using=view, limit=candidates) for view in first]
            ranks = {"query": models.RrfQuery(rrf=models.Rrf(k=RRF_K))}
            options |= (
                {"query": asked["colbert"], "using": "colbert"} if "colbert" in asked else ranks | {"using": None}
            )
        result = self.client.query_points(self.name, limit=k, with_payload=True, **options)
        return [hit(point.score, point.payload, mode) for point in result.points]

    def _create(self) -> None:
        from qdrant_client import models

        vectors = {}
        if self.layout.dense is not None:
            vectors["dense"] = models.VectorParams(size=self.layout.dense, distance=models.Distance.COSINE)
        if self.layout.colbert is not None:
            # Without a graph, which would only slow down what is ranked among candidates.
            vectors["colbert"] = models.VectorParams(
                size=self.layout.colbert,
                distance=models.Distance.COSINE,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),
            )
        sparse = {"sparse": models.SparseVectorParams()} if self.layout.sparse is not None else None
        metadata = {KEY: record(self.layout.model)} if self.layout.model else None
        self.client.create_collection(
            self.name, vectors_config=vectors, sparse_vectors_config=sparse, metadata=metadata
        )

    def _check(self, config: Any) -> None:
        params = config.params
        vectors = params.vectors if isinstance(params.vectors, dict) else {"": params.vectors}
        there = {view: vectors[view].size for view in ("dense", "sparse", "colbert") if view in vectors}
        if "sparse" in (params.sparse_vectors or {}):
            there["sparse"] = self.layout.sparse or 0  # Qdrant knows no vocabulary
        self.layout.refuse_other(f"the collection {self.name!r}", there)
        for view, vector in vectors.items():
            if vector.distance != "Cosine":
                raise InputError(
                    f"the collection {self.name!r} compares {view} vectors by {vector.distance.value}, expected "
                    "Cosine; choose another name"
                )
        if "colbert" in vectors and vectors["colbert"].multivector_config is None:
            raise InputError(f"the collection {self.name!r} has one colbert vector a point; choose another name")
        check_made_by(f"the collection {self.name!r}", (config.metadata or {}).get(KEY), self.layout.model)


def _point(found: Documents, i: int) -> dict[str, Any]:
    return {"id": uuid_of(found.ids[i]), "vector": _vectors(found, i), "payload": found.payload(i)}


def _vectors(found: Documents, i: int) -> dict[str, Any]:
    views: dict[str, Any] = {}
    if (dense := found.dense(i)) is not None:
        views["dense"] = dense
    if (pair := found.weights(i)) is not None:
        views["sparse"] = dict(zip(("indices", "values"), pair, strict=True))
    if tokens := found.colbert(i):  # Qdrant refuses a text without tokens
        views["colbert"] = tokens
    return views
