"""LanceDB: the table that `m3rt encode -o x.parquet` writes, and a collection that searches it."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import InputError
from ..host.extras import need
from ..index.search.options import FUSION
from ..index.search.result import Hit
from ..scoring import colbert_score
from .arrow import documents_table
from .parts.collection import Collection, Mode, hit
from .parts.documents import Documents
from .parts.layout import Layout
from .parts.made_by import KEY, check_made_by, record
from .parts.names import check_name
from .parts.place import refuse_key

if TYPE_CHECKING:
    import pyarrow as pa

to_lance = documents_table
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.-]{1,200}")
_COLUMNS = {"dense": "dense_vecs", "sparse": "sparse_indices", "colbert": "colbert_vecs"}
_SHOWN = ("id", "text", "metadata")


class LanceCollection(Collection):
    """A Collection in a table of LanceDB.

    database: what lancedb.connect() returns. name: the table, made if it is not there, with the columns of
    documents_table(). LanceDB's distance of ColBERT vectors is n **minus the sum** over n query tokens of the best
    match; hits have m3rt's score, the mean. It has no sparse vectors: lexical weights are kept as two lists, empty ones
    too, and "hybrid" takes candidates by dense vectors (by ColBERT where there are none) and ranks them here by the
    weighted mean of all that is stored, as HybridIndex does. Raises InputError for a layout of sparse vectors alone,
    for a table with another layout, of another model, or with an index of another metric than cosine.
    """

    def __init__(self, database: Any, name: str, layout: Layout) -> None:
        need("lance", "lancedb", "pyarrow", purpose="LanceCollection")
        if layout.widths().keys() == {"sparse"}:
            raise InputError("the layout has sparse vectors alone, which LanceDB cannot search; add dense or ColBERT")
        check_name(name, _NAME, "letters, digits, _, - and ., no two dots together")
        self.name, self.layout = name, layout
        if name in database.list_tables().tables:
            self.table = database.open_table(name)
            self._check()
        else:
            self.table = database.create_table(name, schema=self._schema())

    @classmethod
    def at(cls, where: str, name: str, layout: Layout, key: str | None = None) -> Self:
        """The table in a directory, or in a bucket that its URL names."""
        need("lance", "lancedb", "pyarrow", purpose="LanceDB")
        import lancedb

        refuse_key(key)
        return cls(lancedb.connect(where), name, layout)

    def finish(self) -> None:
        """Join the small files that additions have left."""
        self.table.optimize()

    def _there(self, ids: Sequence[str]) -> set[str]:
        quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in ids)
        rows = self.table.search().where(f"id in ({quoted or 'null'})").select(["id"]).limit(len(ids) or 1).to_arrow()
        return set(rows["id"].to_pylist())

    def _write(self, found: Documents) -> None:
        rows = _filled(documents_table(found.embeddings, found.ids, found.texts, found.metadata), self.table.schema)
        self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def _search(self, query: Documents, k: int, mode: Mode, candidates: int) -> list[Hit]:
        if mode == "sparse":
            raise InputError(
                "LanceDB has no sparse search; use 'hybrid', which ranks candidates by lexical weights too"
            )
        if mode != "hybrid":
            return [hit(score, payload, mode) for score, payload, _ in self._nearest(query, mode, k)]
        first = "dense" if self.layout.dense else "colbert"
        hits = [_ranked(query, payload, row) for _, payload, row in self._nearest(query, first, max(k, candidates))]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def _nearest(self, query: Documents, view: str, k: int) -> list[tuple[float, dict[str, Any], dict[str, Any]]]:
        out = query.embeddings
        vector = out.dense_vecs[0] if view == "dense" else out.multi.row(0)  # type: ignore[index, union-attr]
        tokens = 1 if vector.ndim == 1 else len(vector)
        search = self.table.search(vector, vector_column_name=_COLUMNS[view]).distance_type("cosine").limit(k)
        rows = search.to_arrow().to_pylist()
        return [((tokens - row["_distance"]) / tokens, _payload(row), row) for row in rows]

    def _schema(self) -> pa.Schema:
        """That of documents_table() with texts and metadata, of no document."""
        import pyarrow as pa

        kinds = {"id": pa.string(), "text": pa.string(), "metadata": pa.string()}
        if self.layout.dense is not None:
            kinds["dense_vecs"] = pa.list_(pa.float32(), self.layout.dense)
        if self.layout.sparse is not None:
            kinds |= {"sparse_indices": pa.list_(pa.int32()), "sparse_values": pa.list_(pa.float32())}
        if self.layout.colbert is not None:
            kinds["colbert_vecs"] = pa.list_(pa.list_(pa.float32(), self.layout.colbert))
        metadata = {KEY: record(self.layout.model)} if self.layout.model else None
        return pa.schema({**kinds, "n_tokens": pa.int64(), "truncated": pa.bool_()}, metadata)

    def _check(self) -> None:
        schema = self.table.schema
        there = {view: schema.field(column).type for view, column in _COLUMNS.items() if column in schema.names}
        widths: dict[str, Any] = {view: getattr(kind, "list_size", None) for view, kind in there.items()}
        if "sparse" in there:
            widths["sparse"] = self.layout.sparse  # a list knows no vocabulary
        if "colbert" in there:
            widths["colbert"] = getattr(there["colbert"].value_type, "list_size", None)
        self.layout.refuse_other(f"the table {self.name!r}", widths)
        if schema.names != self._schema().names:
            raise InputError(f"the table {self.name!r} has columns {', '.join(schema.names)}; choose another name")
        for index in self.table.list_indices():
            metric = getattr(self.table.index_stats(index.name), "distance_type", None)
            if metric not in (None, "cosine"):
                raise InputError(f"the table {self.name!r} has an index by {metric}, expected cosine; make it anew")
        check_made_by(f"the table {self.name!r}", (schema.metadata or {}).get(KEY.encode()), self.layout.model)


def _filled(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with nulls in the columns that they lack."""
    import pyarrow as pa

    columns = {name: rows[name] if name in rows.column_names else pa.nulls(len(rows), schema.field(name).type)
               for name in schema.names}  # fmt: skip
    return pa.table(columns, schema=schema)


def _payload(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: row[name] for name in _SHOWN}, "metadata": json.loads(row["metadata"] or "{}")}


def _ranked(query: Documents, payload: Mapping[str, Any], row: Mapping[str, Any]) -> Hit:
    """The document with the weighted mean of all its scores."""
    out, scores = query.embeddings, {}
    if out.dense_vecs is not None:
        scores["dense"] = float(out.dense_vecs[0] @ np.array(row["dense_vecs"], np.float32))
    if (asked := query.sparse(0)) is not None:
        weights = zip(row["sparse_indices"], row["sparse_values"], strict=True)
        scores["sparse"] = sum(asked.get(token, 0.0) * weight for token, weight in weights)
    if out.multi is not None:
        scores["colbert"] = colbert_score(out.multi.row(0), np.array(row["colbert_vecs"], np.float32))
    shares = {view: weight for view, weight in zip(_COLUMNS, FUSION, strict=True) if view in scores}
    score = sum(shares[view] * scores[view] for view in shares) / sum(shares.values())
    return Hit(payload["id"], score, scores, payload["text"], payload["metadata"])
