"""A segment: rows that were written together and never change; a mask of the rows that are left is all that changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import HybridIndexError
from ...host.files import FileRecord, sync
from . import directory
from .arrays import Damage, check_offsets, check_places, map_array, write_array
from .columns import Arrays, RowBlock, columns, view_arrays, write_columns
from .documents import key_order
from .facets import FACETS, check_facets, invert_facets
from .inverted import invert, inverted
from .manifest import SegmentRecord, Settings
from .precisions.centred import CENTER, FACTORS, plain
from .signs import check_stored_signs, derive_signs


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Mapped arrays of a segment, its inverted index if it has lexical weights, and alive (rows,) bool or None."""

    record: SegmentRecord
    arrays: Arrays
    inverted: Any
    alive: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return self.record.rows

    @property
    def block(self) -> RowBlock:
        """The rows that were not deleted."""
        return RowBlock(self.arrays, self.alive)

    def living(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The members of `rows` that were not deleted."""
        return rows if self.alive is None else rows[self.alive[rows]]


def open_segment(path: Path, record: SegmentRecord, settings: Settings) -> Segment:
    """Map the files of a segment. Raises Damage for files that differ from the manifest, and as map_array()."""
    folder = path / directory.SEGMENTS / record.name
    mapped = {name: map_array(folder / name, file) for name, file in record.files.items()}
    alive = mapped.pop(record.alive) if record.alive else None
    arrays = {name.removesuffix(".npy"): array for name, array in mapped.items()}
    if settings.dense == "binary" and not {f"dense.{name}" for name in (CENTER, *FACTORS)} & {*arrays}:
        arrays |= {f"dense.{name}": array for name, array in plain(record.rows, settings.dense_dim).items()}
    try:
        _check(record, settings, arrays, alive)
        lexical = inverted(arrays, record.rows) if settings.sparse else None
    except ValueError as error:
        raise Damage(f"{folder}: {error}") from None
    return Segment(record, arrays, lexical, alive)


@contextmanager
def reading(record: SegmentRecord) -> Iterator[None]:
    """Report a failure inside this block as damage to the segment: the caller's arguments were validated before."""
    try:
        yield
    except (ValueError, LookupError, OverflowError) as error:
        raise HybridIndexError(
            f"segment {record.name} is damaged: {error!s:.200}; m3rt index info --verify names the file"
        ) from error


def write_segment(path: Path, name: str, settings: Settings, blocks: Sequence[RowBlock]) -> SegmentRecord | None:
    """Write the kept rows of `blocks` as one segment; None when there are none."""
    if not any(len(block.rows()) for block in blocks):
        return None
    counts: list[int] = []
    files = directory.add_segment(path, name, partial(_write, settings=settings, blocks=blocks, counts=counts))
    rows, documents = counts
    return SegmentRecord(name, rows, documents, files)


def mark_deleted(path: Path, segment: Segment, rows: NDArray[np.int64], commit: int) -> SegmentRecord:
    """Write the mask of the rows that are left without `rows`; returns the new record."""
    record = segment.record
    alive = np.ones(len(segment), np.bool_) if segment.alive is None else segment.alive.copy()
    alive[rows] = False
    file = f"alive-{commit:08}.npy"
    folder = path / directory.SEGMENTS / record.name
    files = {name: kept for name, kept in record.files.items() if name != record.alive}
    files[file] = write_array(folder / file, np.bool_, alive.shape, [alive])
    sync(folder)
    documents = len(np.unique(segment.arrays["keys"][alive]))
    return replace(record, files=files, alive=file, deleted=int((~alive).sum()), documents=documents)


def _write(folder: Path, *, settings: Settings, blocks: Sequence[RowBlock], counts: list[int]) -> dict[str, FileRecord]:
    files = write_columns(folder, columns(settings), blocks)
    arrays = {name.removesuffix(".npy"): map_array(folder / name, file) for name, file in files.items()}
    more = {"key_order": key_order(arrays), **invert_facets(arrays)}
    signs = derive_signs(settings.dense, view_arrays(arrays, "dense"), len(arrays["keys"]), settings.dense_dim)
    more |= {f"dense.{name}": array for name, array in signs.items()}
    if (center := blocks[0].center) is not None:
        more[f"dense.{CENTER}"] = center
    if settings.sparse:
        more |= invert(arrays)
    for name, array in more.items():
        files[f"{name}.npy"] = write_array(folder / f"{name}.npy", array.dtype, array.shape, [array])
    counts += [len(arrays["keys"]), len(np.unique(arrays["keys"]))]
    return files


def _check(record: SegmentRecord, settings: Settings, arrays: Arrays, alive: NDArray[Any] | None) -> None:
    """Raise ValueError for wrong shapes, dtypes or places, which kernels would trust."""
    for column in columns(settings):
        count = record.rows
        if column.group is not None:
            offsets = _named(arrays, f"{column.group}.offsets")
            count = int(offsets[-1]) if offsets.shape == (record.rows + 1,) else 0
            check_offsets(f"{column.group}.offsets.npy", offsets, record.rows, count)
        array, shape = _named(arrays, column.name), (count, column.width) if column.width else (count,)
        if array.dtype != np.dtype(column.dtype) or array.shape != shape:
            raise ValueError(f"{column.name}.npy is {array.dtype} {array.shape}, expected {column.dtype} {shape}")
    if alive is not None and (alive.dtype != np.bool_ or alive.shape != (record.rows,)):
        raise ValueError(f"{record.alive} is {alive.dtype} {alive.shape}, expected bool ({record.rows},)")
    if len(order := _named(arrays, "key_order")) != record.rows:
        raise ValueError(f"key_order.npy has {len(order)} places, expected {record.rows}")
    check_places("key_order.npy", order, record.rows)
    if settings.dense == "binary" and _named(arrays, f"dense.{CENTER}").shape != (settings.dense_dim,):
        raise ValueError(f"dense.{CENTER}.npy has another shape than ({settings.dense_dim},)")
    check_stored_signs(arrays, record.rows, settings.dense_dim)
    check_facets({name: _named(arrays, name) for name in FACETS}, record.rows)


def _named(arrays: Arrays, name: str) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"{name}.npy is missing")
    return arrays[name]
