"""A snapshot: the segments of one commit as one sequence of rows, which any number of threads may read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...values.ragged import offsets_of
from . import directory
from .arrays import Damage
from .facets import Filter, filter_rows, has_field
from .manifest import Manifest
from .rows import RowMask, ScoredRows
from .segment import Segment, open_segment, reading

Search = Callable[[Segment, int, RowMask], ScoredRows]
Score = Callable[[Segment, NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The readable segments of one commit.

    bases: the number of each segment's first row, then the total. damaged: the fault of each segment that is left out.
    """

    manifest: Manifest
    segments: tuple[Segment, ...]
    bases: NDArray[np.int64]
    damaged: Mapping[str, str]

    def masks(self, wanted: Filter | None) -> list[RowMask]:
        """The rows of each segment that a search may return: not deleted, and with all of the wanted metadata."""
        if not wanted:
            return [segment.alive for segment in self.segments]
        for field in wanted:
            if self.segments and not any(has_field(s.arrays, field) for s in self.segments):
                raise InputError(f"filter names the field {field!r:.60}, which no document of the index has")
        filtered = [(s.alive, filter_rows(s.arrays, wanted)) for s in self.segments]
        return [kept if alive is None else kept & alive for alive, kept in filtered]

    def search(self, find: Search, k: int, masks: Sequence[RowMask]) -> ScoredRows:
        """The k best rows of all segments and their scores, best first; `find` searches one segment.

        Equal scores come in the order of sorted(), also where not all of them fit into the k best.
        """
        found = []
        for segment, base, mask in zip(self.segments, self.bases[:-1], masks, strict=True):
            if mask is None or mask.any():
                with reading(segment.record):
                    rows, scores = _with_ties(find, segment, k, mask)
                found.append((rows + base, scores))
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        rows, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = self.sorted(rows, scores)[:k]
        return rows[order], scores[order]

    def sorted(self, rows: NDArray[np.int64], scores: NDArray[Any]) -> NDArray[np.int64]:
        """The places of `rows`, best score first; equal scores by the documents' keys, which no write changes.

        Chunks of one document stay together and in order in every write, so row numbers decide between them.
        """
        keys = np.empty(len(rows), np.uint64)
        owners = np.searchsorted(self.bases, rows, "right") - 1
        for i in np.unique(owners):
            mine = owners == i
            keys[mine] = self.segments[i].arrays["keys"][rows[mine] - self.bases[i]]
        return np.lexsort((rows, keys, -scores))

    def scores(self, score: Score, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of `rows`, in their order; `score` scores rows of one segment."""
        owners = np.searchsorted(self.bases, rows, "right") - 1
        found = np.empty(len(rows), np.float32)
        for i in np.unique(owners):
            mine = owners == i
            with reading(self.segments[i].record):
                found[mine] = score(self.segments[i], rows[mine] - self.bases[i])
        return found

    def place(self, row: int) -> tuple[Segment, int]:
        """The segment of a row, and its place there."""
        i = int(np.searchsorted(self.bases, row, "right")) - 1
        return self.segments[i], row - int(self.bases[i])

    def keys(self, rows: NDArray[np.int64]) -> list[int]:
        """The key of each row's document; rows of one document share it."""
        return [int(s.arrays["keys"][r]) for s, r in map(self.place, rows.tolist())]


def open_snapshot(path: Path, reported: Container[str] = ()) -> Snapshot:
    """The last commit. Each damaged segment is left out with a warning, unless it was `reported` before.

    Raises HybridIndexError when there is no index, or when a file of it cannot be read just now.
    """
    while True:
        manifest = directory.read(path)
        snapshot = _opened(path, manifest)
        # A writer may have replaced segments after the manifest was read: then there is a later commit.
        if not snapshot.damaged or directory.read(path) == manifest:
            break
    for name, fault in snapshot.damaged.items():
        if name not in reported:
            warnings.warn(f"{path}: segment {name} is left out: {fault}", stacklevel=3)
    return snapshot


def _with_ties(find: Search, segment: Segment, k: int, mask: RowMask) -> ScoredRows:
    """The k best rows of a segment, and every other row whose score equals that of the k-th."""
    asked = k + 1
    while True:
        rows, scores = find(segment, asked, mask)
        if len(rows) < asked or scores[-1] < scores[k - 1]:
            kept = slice(None) if len(rows) <= k else scores >= scores[k - 1]
            return rows[kept], scores[kept]
        asked *= 2


def _opened(path: Path, manifest: Manifest) -> Snapshot:
    segments, damaged = [], {}
    for record in manifest.segments:
        try:
            segments.append(open_segment(path, record, manifest.settings))
        except Damage as error:
            damaged[record.name] = str(error)
    return Snapshot(manifest, tuple(segments), offsets_of(map(len, segments)), damaged)
