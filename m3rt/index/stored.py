"""Stored rows: what an index holds, batch by batch, with its vectors as floats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embeddings, MultiVectors, SparseVectors
from ..values.ragged import offsets_of
from .store.columns import ragged, view_arrays
from .store.documents import Row, read_row
from .store.manifest import Settings
from .store.precisions import COLBERT, DENSE
from .store.segment import Segment, reading
from .store.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Consecutive rows of an index, and their embeddings, which are read when they are asked for."""

    rows: Sequence[Row]
    _segment: Segment
    _places: NDArray[np.int64]
    _settings: Settings

    def embeddings(self, chosen: Sequence[int]) -> Embeddings:
        """The views of the rows at some places of `rows`, as precise as they are stored; numbers of tokens are 0."""
        places = self._places[list(chosen)]
        n = len(places)
        with reading(self._segment.record):
            return Embeddings(
                self._dense(places), self._sparse(places), self._colbert(places), np.zeros(n, np.int64),
                np.zeros(n, np.bool_),
            )  # fmt: skip

    def _dense(self, places: NDArray[np.int64]) -> NDArray[np.float32] | None:
        if self._settings.dense is None:
            return None
        return DENSE[self._settings.dense].decode(view_arrays(self._segment.arrays, "dense"), places)

    def _sparse(self, places: NDArray[np.int64]) -> SparseVectors | None:
        if not self._settings.sparse:
            return None
        stored = view_arrays(self._segment.arrays, "sparse")
        offsets, items = _items(stored["offsets"], places)
        return SparseVectors(offsets, stored["indices"][items], stored["values"][items])

    def _colbert(self, places: NDArray[np.int64]) -> MultiVectors | None:
        if self._settings.colbert is None:
            return None
        stored = view_arrays(self._segment.arrays, "colbert")
        offsets, items = _items(stored["offsets"], places)
        return MultiVectors(COLBERT[self._settings.colbert].decode(stored, items), offsets)


def stored(snapshot: Snapshot, size: int) -> Iterator[StoredRows]:
    """All rows that were not deleted, `size` at a time or fewer."""
    for segment in snapshot.segments:
        rows = segment.block.rows()
        for first in range(0, len(rows), size):
            places = rows[first : first + size]
            with reading(segment.record):
                found = [read_row(segment.arrays, row) for row in places.tolist()]
            yield StoredRows(found, segment, places, snapshot.manifest.settings)


def _items(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return offsets_of(offsets[rows + 1] - offsets[rows]), ragged(offsets, rows)
