"""The arrays of a segment, and the joining of rows from several segments into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...host.files import FileRecord
from ...values.ragged import offsets_of
from .arrays import COPIED_BYTES, write_array
from .manifest import Settings
from .precisions import CENTER, COLBERT, DENSE, StoredArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """An array with an item for each row, or for each item that `group`.offsets gives to a row."""

    name: str
    dtype: str
    width: int = 0  # 0: items are scalars
    group: str | None = None


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Arrays of rows, and a mask of the rows to take: keep (rows,) bool, None for all."""

    arrays: Arrays
    keep: NDArray[np.bool_] | None = None

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def center(self) -> NDArray[np.float32] | None:
        """The center (dim,) of dense bits, one in all blocks of an index."""
        return self.arrays.get(f"dense.{CENTER}")

    def rows(self) -> NDArray[np.int64]:
        """The rows to take, in order."""
        return np.arange(len(self.arrays["keys"])) if self.keep is None else np.flatnonzero(self.keep)


def columns(settings: Settings) -> tuple[Column, ...]:
    """The columns of every segment of an index, without the arrays that are derived from them."""
    layout = [
        Column("documents.bytes", "u1", group="documents"),
        Column("keys", "u8"),
        Column("facets.keys", "u8", group="facets"),
    ]
    if settings.dense:
        layout += _vectors("dense", DENSE[settings.dense].arrays, settings.dense_dim, None)
    if settings.sparse:
        layout += [Column("sparse.indices", "i4", group="sparse"), Column("sparse.values", "f4", group="sparse")]
    if settings.colbert:
        layout += _vectors("colbert", COLBERT[settings.colbert].arrays, settings.colbert_dim, "colbert")
    return tuple(layout)


def write_columns(directory: Path, layout: Sequence[Column], blocks: Sequence[RowBlock]) -> dict[str, FileRecord]:
    """Write the kept rows of all blocks, one after the other; one file for each column and for each group's offsets."""
    kept = [block.rows() for block in blocks]
    count = sum(map(len, kept))
    files: dict[str, FileRecord] = {}
    totals: dict[str | None, int] = {None: count}
    for group in dict.fromkeys(column.group for column in layout if column.group):
        name = f"{group}.offsets"
        pairs = zip(blocks, kept, strict=True)
        lengths = np.concatenate([np.diff(block.arrays[name])[rows] for block, rows in pairs])
        offsets = offsets_of(lengths)
        totals[group] = int(offsets[-1])
        files[f"{name}.npy"] = write_array(directory / f"{name}.npy", "<i8", offsets.shape, [offsets])
    for column in layout:
        shape = (totals[column.group], *([column.width] if column.width else []))
        file = f"{column.name}.npy"
        files[file] = write_array(directory / file, f"<{column.dtype}", shape, _blocks(column, blocks, kept))
    return files


def view_arrays(arrays: Arrays, view: str) -> Arrays:
    """The arrays whose names begin with `view` and a dot, by the rest of their names."""
    prefix = f"{view}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def ragged(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of all items of `rows`, row after row, fresh (total,) int64."""
    starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
    return np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())


def _blocks(column: Column, blocks: Sequence[RowBlock], kept: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[Any]]:
    for block, rows in zip(blocks, kept, strict=True):
        array = block.arrays[column.name]
        places = rows if column.group is None else ragged(block.arrays[f"{column.group}.offsets"], rows)
        size = max(1, COPIED_BYTES // max(1, array.dtype.itemsize * max(column.width, 1)))
        yield from (array[places[i : i + size]] for i in range(0, len(places), size))


def _vectors(view: str, stored: Mapping[str, StoredArray], dim: int, group: str | None) -> Iterable[Column]:
    for name, array in stored.items():
        yield Column(f"{view}.{name}", array.dtype, dim // array.components if array.components else 0, group)
