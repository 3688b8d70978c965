"""A writer: it collects segments and deletions and makes one commit of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import HybridIndexError, M3rtError
from . import directory
from .columns import RowBlock
from .documents import rows_of_ids
from .info import segment_faults
from .keys import key
from .manifest import SegmentRecord
from .segment import mark_deleted, open_segment, reading, write_segment
from .signs import lacks_signs
from .snapshot import Snapshot

_FLUSH_BYTES = 1 << 28  # rows of so many bytes are written as a segment before the commit
_TIER_SEGMENTS = 8  # so many segments of about one size are merged; also the ratio between two sizes


class Writer:
    """Changes to the commit that `snapshot` shows, made while its directory is locked.

    Readers see nothing before commit(). If an error or a kill comes first, close() or the next writer removes the
    files, which no commit names. A damaged segment is a HybridIndexError unless drop_damaged: its ids
    cannot be read, so they could be neither replaced nor deleted, and would be in the index twice once the segment is
    restored.
    """

    def __init__(self, path: Path, snapshot: Snapshot, *, drop_damaged: bool = False) -> None:
        self._path = path
        self._manifest = snapshot.manifest
        self._dropping = drop_damaged
        self._damaged = snapshot.damaged
        for name, fault in () if drop_damaged else snapshot.damaged.items():
            raise _refusal(name, fault)
        self._open = {segment.record.name: segment for segment in snapshot.segments}
        self._records = {name: segment.record for name, segment in self._open.items()}
        self._next = snapshot.manifest.next_segment
        self._held: list[RowBlock] = []

    @property
    def center(self) -> NDArray[np.float32] | None:
        """The center of the dense bits that the index has, None where there are none."""
        return next((segment.block.center for segment in self._open.values()), None)

    def delete(self, ids: Iterable[str]) -> int:
        """Mark the rows of `ids` as deleted; returns how many of the ids the index had."""
        wanted = {key(name): name for name in ids}
        found: set[int] = set()
        for name, segment in self._open.items():
            with reading(segment.record):
                rows = segment.living(rows_of_ids(segment.arrays, wanted))
            if not len(rows):
                continue
            found.update(segment.arrays["keys"][rows].tolist())
            if segment.record.deleted + len(rows) == len(segment):
                del self._records[name]
            else:
                self._records[name] = mark_deleted(self._path, segment, rows, self._manifest.commit + 1)
        return len(found)

    def add(self, block: RowBlock) -> None:
        """Take rows; when they are many, they are written as a segment."""
        self._held.append(block)
        if sum(held.size for held in self._held) >= _FLUSH_BYTES:
            self._flush()

    def compact(self) -> bool:
        """Merge all segments into one without deleted rows; returns whether anything changed."""
        if self._dropping:
            self._drop_damaged()
        settings = self._manifest.settings
        if len(self._records) > 1 or any(r.deleted or lacks_signs(r, settings) for r in self._records.values()):
            self._merge(list(self._records))
            return True
        return len(self._records) < len(self._manifest.segments)

    def _drop_damaged(self) -> None:
        kept = {}
        for record in self._manifest.segments:
            if fault := self._damaged.get(record.name) or next(segment_faults(self._path, record), None):
                lost = f"its {record.documents:,} documents are lost"
                warnings.warn(f"segment {record.name} is given up: {fault}; {lost}", stacklevel=4)
            else:
                kept[record.name] = self._records[record.name]
        self._records = kept

    def commit(self, note: Mapping[str, Any] | None) -> None:
        """Make all changes visible to readers; `note` replaces that of the manifest unless it is None."""
        self._flush()
        self._merge_tiers()
        manifest = replace(
            self._manifest,
            segments=tuple(self._records.values()),
            commit=self._manifest.commit + 1,
            next_segment=self._next,
            note=self._manifest.note if note is None else dict(note),
        )
        directory.publish(self._path, manifest, self._manifest)
        self._manifest = manifest

    def close(self) -> None:
        """Remove the files that the last commit does not name: replaced ones, and ones that were never committed."""
        with suppress(OSError, M3rtError):
            if (
                directory.read(self._path) == self._manifest
            ):  # otherwise the files of another host would look like leftovers
                directory.collect(self._path, self._manifest)

    def _flush(self) -> None:
        self._write(self._held)
        self._held = []

    def _merge_tiers(self) -> None:
        """Keep segments few by merging those of about one size, so that each row is copied only a few times."""
        while True:
            tiers: dict[int, list[str]] = {}
            for name, record in self._records.items():
                tiers.setdefault(int(log(record.rows, _TIER_SEGMENTS)), []).append(name)
            full = [tier for tier, names in sorted(tiers.items()) if len(names) >= _TIER_SEGMENTS]
            if not full:
                return
            self._merge(tiers[full[0]])

    def _merge(self, names: list[str]) -> None:
        settings = self._manifest.settings
        records = [self._records.pop(name) for name in names]
        for record in records:
            for fault in segment_faults(
                self._path, record
            ):  # the merged segment gets new hashes, which would hide the damage for ever
                raise _refusal(record.name, fault)
        self._write([open_segment(self._path, record, settings).block for record in records])

    def _write(self, blocks: list[RowBlock]) -> SegmentRecord | None:
        name = f"{self._next:08}"
        record = write_segment(self._path, name, self._manifest.settings, blocks)
        if record:
            self._records[name] = record
            self._next += 1
        return record


def _refusal(name: str, fault: str) -> HybridIndexError:
    return HybridIndexError(
        f"segment {name} is damaged: {fault}; restore it, or give it up: m3rt index compact --drop-damaged"
    )
