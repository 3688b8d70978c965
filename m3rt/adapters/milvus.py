"""Milvus: rows with a dense and a sparse field, and a collection that searches them, in Lite or on a server."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, Self

import numpy as np

from ..embeddings import Embeddings
from ..errors import InputError
from ..host.extras import need
from ..index.search.result import Hit
from ..values.shown import shown
from .parts.collection import RRF_K, Collection, Mode, hit
from .parts.documents import Documents
from .parts.layout import Layout
from .parts.made_by import KEY, check_made_by, record
from .parts.names import check_name
from .parts.place import owning, refuse_key, url_of

NO_TOKEN = (1 << 32) - 2  # the largest index that a sparse field holds: no vocabulary has a token of this id

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_METRICS = {"dense": "COSINE", "sparse": "IP"}
_INDEXES = {"dense": "AUTOINDEX", "sparse": "SPARSE_INVERTED_INDEX"}
_SUFFIX = ".db"  # by which pymilvus tells a file of Milvus Lite
_MAX_ID_BYTES = 512
_MAX_TEXT_BYTES = 65_535
_ROWS = 256  # in a request
_FIELDS = ("id", "text", "metadata")


def to_milvus(
    embeddings: Embeddings,
    ids: Iterable[str],
    texts: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any] | None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows {"id", "dense", "sparse": {token id: weight}, "text", "metadata"} for insert or upsert.

    Milvus refuses an empty sparse vector: {NO_TOKEN: 1.0} stands for it, which no query finds. ColBERT vectors are left
    out, since Milvus Lite has no place for them; rerank with m3rt.colbert_score, a **mean** over query tokens.
    Raises InputError for ids of more than 512 bytes and texts of more than 65,535.
    """
    found = Documents.of(embeddings, ids, texts, metadata)
    _check_sizes(found)
    return (_row(found, i, found.dense(i)) for i in range(len(found)))


class MilvusCollection(Collection):
    """A Collection in Milvus, Lite or on a server, of dense and sparse vectors.

    client: a MilvusClient. name: the collection, made and loaded if it is not there. "hybrid" fuses dense and sparse
    candidates by reciprocal ranks. Raises InputError for a layout with ColBERT vectors, and for a collection with
    another layout or metric, or of another model.
    """

    def __init__(self, client: Any, name: str, layout: Layout) -> None:
        need("milvus", "pymilvus", purpose="MilvusCollection")
        if layout.colbert is not None:
            raise InputError("the layout has ColBERT vectors, which Milvus Lite cannot hold; leave them out")
        check_name(name, _NAME, "letters, digits and _, at most 255, no digit first")
        self.client, self.name, self.layout = client, name, layout
        if client.has_collection(name):
            self._check()
        else:
            self._create()
        client.load_collection(name)

    @classmethod
    def at(cls, where: str, name: str, layout: Layout, key: str | None = None) -> Self:
        """The collection in a file of Milvus Lite, or on the server of a URL, which may ask for a key."""
        need("milvus", "pymilvus", purpose="Milvus")
        from pymilvus import MilvusClient

        url = url_of(where)
        if url is None:
            refuse_key(key)
            if not where.endswith(_SUFFIX):
                raise InputError(f"Milvus Lite's file is {shown(where)}, expected a name that ends in {_SUFFIX}")
            need("milvus", "milvus_lite", purpose="Milvus Lite")
        return owning(MilvusClient(url or where, token=key or ""), lambda client: cls(client, name, layout))

    def close(self) -> None:
        """Close the client, which lets others open a file of Milvus Lite."""
        self.client.close()

    def _there(self, ids: Sequence[str]) -> set[str]:
        # MilvusClient.get() quotes ids without escapes, and Lite knows no filter_params.
        wanted = f"id in {json.dumps(list(ids), ensure_ascii=False)}"
        return {row["id"] for row in self.client.query(self.name, filter=wanted, output_fields=["id"])}

    def _write(self, found: Documents) -> None:
        _check_sizes(found)
        vectors = found.embeddings.dense_vecs
        # The client takes arrays too, and makes a list of one at a time: cheaper than lists of all that are kept.
        dense = repeat(None) if vectors is None else vectors.astype(np.float32, copy=False)
        rows = (_row(found, i, vector) for i, vector in zip(range(len(found)), dense, strict=False))
        nothing = {"text": None, "metadata": None}
        while batch := [nothing | row for row in islice(rows, _ROWS)]:
            self.client.upsert(self.name, batch)

    def _search(self, query: Documents, k: int, mode: Mode, candidates: int) -> list[Hit]:
        from pymilvus import AnnSearchRequest, RRFRanker

        asked = {"dense": query.dense(0), "sparse": query.sparse(0)}
        asked = {view: value for view, value in asked.items() if value is not None}
        if mode == "hybrid":
            requests = [AnnSearchRequest([asked[v]], v, {"metric_type": _METRICS[v]}, candidates) for v in asked]
            rows = self.client.hybrid_search(self.name, requests, RRFRanker(RRF_K), limit=k, output_fields=[*_FIELDS])
        else:
            options = {"metric_type": _METRICS[mode]}
            rows = self.client.search(
                self.name, [asked[mode]], anns_field=mode, limit=k, output_fields=[*_FIELDS], search_params=options
            )
        return [hit(row["distance"], row["entity"], mode) for row in rows[0]]

    def _create(self) -> None:
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_MAX_ID_BYTES)
        schema.add_field("text", DataType.VARCHAR, max_length=_MAX_TEXT_BYTES, nullable=True)
        schema.add_field("metadata", DataType.JSON, nullable=True)
        if self.layout.dense is not None:
            schema.add_field("dense", DataType.FLOAT_VECTOR, dim=self.layout.dense)
        if self.layout.sparse is not None:
            schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        indexes = self.client.prepare_index_params()
        for view in self.layout.widths():
            indexes.add_index(view, index_type=_INDEXES[view], metric_type=_METRICS[view])
        properties = {KEY: record(self.layout.model)} if self.layout.model else {}
        self.client.create_collection(self.name, schema=schema, index_params=indexes, properties=properties)

    def _check(self) -> None:
        described = self.client.describe_collection(self.name)
        fields = {field["name"]: field["params"] for field in described["fields"]}
        there = {"dense": int(fields["dense"].get("dim", 0))} if "dense" in fields else {}
        if "sparse" in fields:
            there["sparse"] = self.layout.sparse or 0  # Milvus knows no vocabulary
        self.layout.refuse_other(f"the collection {self.name!r}", there)
        if lacking := [field for field in _FIELDS if field not in fields]:
            raise InputError(f"the collection {self.name!r} has no field {lacking[0]!r}; choose another name")
        for view in self.layout.widths():
            metric = (self.client.describe_index(self.name, view) or {}).get("metric_type")
            if metric != _METRICS[view]:
                raise InputError(
                    f"the collection {self.name!r} compares {view} vectors by {metric}, expected {_METRICS[view]}; "
                    "choose another name"
                )
        check_made_by(f"the collection {self.name!r}", described.get("properties", {}).get(KEY), self.layout.model)


def _check_sizes(found: Documents) -> None:
    _check_lengths("id", found.ids, found.ids, _MAX_ID_BYTES)
    _check_lengths("the text of id", found.ids, found.texts or [], _MAX_TEXT_BYTES)


def _row(found: Documents, i: int, dense: Any) -> dict[str, Any]:
    row = found.payload(i)
    if dense is not None:
        row["dense"] = dense
    if (sparse := found.sparse(i)) is not None:
        row["sparse"] = sparse or {NO_TOKEN: 1.0}
    return row


def _check_lengths(what: str, names: Sequence[str], values: Sequence[str], most: int) -> None:
    for name, value in zip(names, values, strict=False):
        if len(value.encode()) > most:
            raise InputError(f"{what} {shown(name)} has {len(value.encode())} bytes, expected at most {most:,}")
