"""Arrow in, Arrow out: a table with texts gets the columns that `m3rt encode -o x.parquet` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle import DEFAULT, open_bundle, portable
from ..embeddings import Embeddings
from ..errors import InputError
from ..host.extras import need
from ..output.part import Part
from ..values.shown import a_kind
from .parts.documents import Documents

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
        raise InputError(f"table is {a_kind(table)}, expected a pyarrow.Table")
    names = table.column_names
    if text not in names:
        raise InputError(f"the table has no column {text!r:.60}, only {', '.join(names)}; say which with text=")
    if taken := [name for name in VECTOR_COLUMNS if name in names]:
        raise InputError(f"the table has a column {taken[0]!r} already; rename it")
    vectors = embeddings_table(encoder.encode(table[text], **options))
    for name in vectors.column_names:
        table = table.append_column(vectors.field(name), vectors[name])
    return table


class TableEncoder:
    """encode_table() that can be sent to other processes, and opens its encoder where it is called.

    model: a bundle's directory, checked at once, by default m3-tiny. threads: CPU threads of each process; engines that
    start several on a machine must say how many each may use. device: M3Encoder's. text, options: encode_table()'s.
    Raises InputError or BundleError.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT,
        *,
        threads: int | None = None,
        device: str = "auto",
        text: str = "text",
        **options: Any,
    ) -> None:
        open_bundle(model)
        self._model, self._threads, self._device = portable(model), threads, device
        self._options = {"text": text, **options}

    def __call__(self, table: pa.Table) -> pa.Table:
        """encode_table() of a table or a record batch."""
        return encode_table(self.encoder, table, **self._options)

    def batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """encode_table() of one record batch after the other, no list of fixed size: for Spark's mapInArrow."""
        import pyarrow as pa

        for batch in batches:
            table = self(batch)
            fields = [pa.field(f.name, _variable(f.type) if f.name in VECTOR_COLUMNS else f.type) for f in table.schema]
            yield from table.cast(pa.schema(fields)).to_batches()

    @cached_property
    def encoder(self) -> M3Encoder:
        """The encoder, opened when first used."""
        from ..encoder import M3Encoder

        return M3Encoder(self._model, threads=self._threads, device=self._device)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "encoder"}


def embeddings_table(out: Embeddings) -> pa.Table:
    """The columns of n embeddings alone."""
    need("parquet", "pyarrow", purpose="a table of embeddings")
    from ..output import parquet

    return parquet.table(Part(0, (None,) * len(out), out)).drop_columns(["index", "id"])


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


def _variable(kind: pa.DataType) -> pa.DataType:
    """The type with lists of any length for those of fixed size."""
    import pyarrow as pa

    return pa.list_(_variable(kind.value_type)) if hasattr(kind, "value_type") else kind
