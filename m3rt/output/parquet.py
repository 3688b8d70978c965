"""Parquet: a row for each text, vectors as lists of fixed size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from .part import Part

_GROUP_BYTES = 1 << 24  # small parts share a row group up to this size, since readers are slow with many groups


def write(part: Part, path: Path) -> None:
    parquet.write_table(table(part), path)


def join(parts: Sequence[Path], path: Path) -> None:
    # Components of embeddings hardly repeat, so dictionaries and statistics would only cost space.
    options = {"use_dictionary": False, "write_statistics": False}
    with parquet.ParquetWriter(path, parquet.read_schema(parts[0]), **options) as writer:
        for group in _groups(parts):
            writer.write_table(group, row_group_size=len(group) or None)


def _groups(parts: Sequence[Path]) -> Iterator[Any]:
    tables: list[Any] = []
    for part in parts:
        tables.append(parquet.read_table(part))
        if sum(table.nbytes for table in tables) >= _GROUP_BYTES:
            yield pa.concat_tables(tables)
            tables = []
    if tables:
        yield pa.concat_tables(tables)


def table(part: Part) -> Any:
    out = part.embeddings
    n = len(out)
    columns: dict[str, Any] = {
        "index": pa.array(np.arange(part.first, part.first + n)),
        "id": pa.array([None if key is None else str(key) for key in part.ids], pa.string()),
    }
    if out.dense_vecs is not None:
        columns["dense_vecs"] = _vectors(out.dense_vecs)
    if out.sparse is not None:
        columns["sparse_indices"] = _lists(out.sparse.indptr, pa.array(out.sparse.indices))
        columns["sparse_values"] = _lists(out.sparse.indptr, pa.array(out.sparse.values))
    if out.multi is not None:
        columns["colbert_vecs"] = _lists(out.multi.offsets, _vectors(out.multi.vectors))
        if out.multi.scales is not None:
            columns["colbert_scales"] = _lists(out.multi.offsets, pa.array(out.multi.scales))
    return pa.table({**columns, "n_tokens": pa.array(out.n_tokens), "truncated": pa.array(out.truncated)})


def _vectors(array: NDArray[Any]) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


def _lists(offsets: NDArray[np.int64], values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
