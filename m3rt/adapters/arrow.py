"""Arrow in, Arrow out: a table with texts gets the columns that `m3rt encode -o x.parquet` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..embeddings import Embeddings
from ..errors import InputError
from ..host.extras import need
from ..output.part import Part
from ..values.shown import kind
from .documents import Documents

if TYPE_CHECKING:
    import pyarrow as pa

    from ..encoder import M3Encoder

VECTOR_COLUMNS = ("dense_vecs", "sparse_indices", "sparse_values", "colbert_vecs", "n_tokens", "truncated")


def encode_table(encoder: M3Encoder, table: pa.Table, *, text: str = "text", **options: Any) -> pa.Table:
    """The table with columns for the views of each row's text.

    dense_vecs fixed_size_list<float>, sparse_indices list<int32>, sparse_values list<float>, colbert_vecs
    list<fixed_size_list<float>>, n_tokens, truncated. text: the column of the texts. options: encode()'s, such as
    return_sparse. An empty sparse vector is two empty lists. Takes a RecordBatch too, and returns a table.
    Raises InputError for a column that is missing, that has the name of one to be added, or that holds no texts.
    """
    need("parquet", "pyarrow", purpose="encode_table")
    import pyarrow as pa

    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        raise InputError(f"table is a {kind(table)}, expected a pyarrow.Table")
    names = table.column_names
    if text not in names:
        raise InputError(f"the table has no column {text!r:.60}, only {', '.join(names)}; say which with text=")
    if taken := [name for name in VECTOR_COLUMNS if name in names]:
        raise InputError(f"the table has a column {taken[0]!r} already; rename it")
    vectors = embeddings_table(encoder.encode(table[text], **options))
    for name in vectors.column_names:
        table = table.append_column(vectors.field(name), vectors[name])
    return table


def embeddings_table(out: Embeddings) -> pa.Table:
    """The columns of n embeddings alone."""
    need("parquet", "pyarrow", purpose="a table of embeddings")
    from ..output import parquet

    return parquet._table(Part(0, (None,) * len(out), out)).drop_columns(["index", "id"])


def documents_table(
    embeddings: Embeddings,
    ids: Iterable[str],
    texts: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any] | None] | None = None,
) -> pa.Table:
    """The same columns after id, text and metadata, which is a string of JSON."""
    import json

    need("parquet", "pyarrow", purpose="a table of documents")
    import pyarrow as pa

    found = Documents.of(embeddings, ids, texts, metadata)
    rows = [found.payload(i) for i in range(len(found))]
    columns = {"id": pa.array([row["id"] for row in rows], pa.string())}
    if found.texts is not None:
        columns["text"] = pa.array(found.texts, pa.string())
    if found.metadata is not None:
        columns["metadata"] = pa.array([json.dumps(row["metadata"], ensure_ascii=False) for row in rows], pa.string())
    vectors = embeddings_table(embeddings)
    return pa.table({**columns, **{name: vectors[name] for name in vectors.column_names}})
