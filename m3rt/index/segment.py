"""A segment: rows that were written together and never change; only which of them live does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HybridIndexError
from ..manifest import FileRecord
from . import directory
from .arrays import map_array, write_array
from .columns import Arrays, Source, columns, write_columns
from .documents import key_order
from .facets import invert_facets
from .inverted import invert, inverted
from .manifest import SegmentRecord, Settings


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
    def source(self) -> Source:
        """The living rows."""
        return Source(self.arrays, self.alive)

    def living(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `rows` that were not deleted."""
        return rows if self.alive is None else rows[self.alive[rows]]


def open_segment(path: Path, record: SegmentRecord, settings: Settings) -> Segment:
    """Map a segment's files. Raises HybridIndexError for files that are not what the manifest says."""
    folder = path / directory.SEGMENTS / record.name
    found = {name: map_array(folder / name, file) for name, file in record.files.items()}
    alive = found.pop(record.alive) if record.alive else None
    arrays = {name.removesuffix(".npy"): array for name, array in found.items()}
    _check(folder, record, settings, arrays)
    try:
        lexical = inverted(arrays) if settings.sparse else None
    except ValueError as error:
        raise HybridIndexError(f"{folder}: {error}") from None
    return Segment(record, arrays, lexical, alive)


def write_segment(path: Path, name: str, settings: Settings, sources: Sequence[Source]) -> SegmentRecord | None:
    """Write the kept rows of `sources` as one segment; None when there are none."""
    if not any(len(source.rows()) for source in sources):
        return None
    counts: list[int] = []
    files = directory.add_segment(path, name, partial(_write, settings=settings, sources=sources, counts=counts))
    rows, documents = counts
    return SegmentRecord(name, rows, documents, files)


def mark_deleted(path: Path, segment: Segment, rows: NDArray[np.int64], commit: int) -> SegmentRecord:
    """The record of a segment without `rows`, after writing which rows live on."""
    record = segment.record
    alive = np.ones(len(segment), np.bool_) if segment.alive is None else segment.alive.copy()
    alive[rows] = False
    file = f"alive-{commit:08}.npy"
    folder = path / directory.SEGMENTS / record.name
    files = {name: kept for name, kept in record.files.items() if name != record.alive}
    files[file] = write_array(folder / file, np.bool_, alive.shape, [alive])
    directory.sync(folder)
    documents = len(np.unique(segment.arrays["keys"][alive]))
    return replace(record, files=files, alive=file, deleted=int((~alive).sum()), documents=documents)


def _write(folder: Path, *, settings: Settings, sources: Sequence[Source], counts: list[int]) -> dict[str, FileRecord]:
    files = write_columns(folder, columns(settings), sources)
    arrays = {name.removesuffix(".npy"): map_array(folder / name, file) for name, file in files.items()}
    more = {"key_order": key_order(arrays), **invert_facets(arrays)}
    if settings.sparse:
        more |= invert(arrays)
    for name, array in more.items():
        files[f"{name}.npy"] = write_array(folder / f"{name}.npy", array.dtype, array.shape, [array])
    counts += [len(arrays["keys"]), len(np.unique(arrays["keys"]))]
    return files


def _check(folder: Path, record: SegmentRecord, settings: Settings, arrays: Arrays) -> None:
    """Kernels trust shapes: those of an index that was put together wrongly must not reach them."""
    for column in columns(settings):
        array = arrays.get(column.name)
        offsets = arrays.get(f"{column.group}.offsets") if column.group else None
        count = record.rows if column.group is None else -1 if offsets is None else int(offsets[-1])
        shape = (count, column.width) if column.width else (count,)
        if array is None or array.dtype != np.dtype(column.dtype) or array.shape != shape:
            got = "missing" if array is None else f"{array.dtype} {array.shape}"
            raise HybridIndexError(f"{folder / column.name}.npy is {got}, expected {column.dtype} {shape}")
