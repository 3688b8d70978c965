"""Documents as an index stores them: a line of JSON for each row, and a look-up of rows by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import HybridIndexError, InputError
from ...values.ragged import offsets_of
from ...values.schema import conforms
from ...values.shown import shown
from .columns import Arrays
from .facets import facet_keys
from .keys import key


@dataclass(frozen=True, slots=True)
class Row:
    """A row as a search shows it: a document, or the chunk of one that `span` cuts out, in characters."""

    id: str
    text: str | None = None
    metadata: Mapping[str, Any] | None = None
    span: tuple[int, int] | None = None

    def to_json(self) -> bytes:
        """One line. Raises InputError when JSON cannot hold the metadata."""
        fields = {"id": self.id, "text": self.text, "metadata": self.metadata or None, "span": self.span}
        try:
            kept = {name: value for name, value in fields.items() if value is not None}
            line = json.dumps(kept, ensure_ascii=False, allow_nan=False)
            return f"{line}\n".encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"the metadata of id {self.id!r:.60} is not JSON: {error}; use strings and numbers"
            ) from None

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        try:
            found = json.loads(line)
            span = found.get("span")
            row = cls(found["id"], found.get("text"), found.get("metadata"), None if span is None else (*span,))
            if not conforms(row, Row) or (row.span is not None and len(row.span) != 2):
                raise ValueError(f"found {shown(found)}")
            return row
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise HybridIndexError(
                f"a stored document is damaged ({error!r:.80}); m3rt index info --verify names it"
            ) from None


def read_row(arrays: Arrays, row: int) -> Row:
    """The document or chunk of one row of a segment."""
    start, end = arrays["documents.offsets"][row : row + 2]
    return Row.from_json(arrays["documents.bytes"][start:end].tobytes())


def document_arrays(rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """The columns that hold `rows`, their keys and facets."""
    lines = [row.to_json() for row in rows]
    facets = [facet_keys(row.metadata or {}) for row in rows]
    return {
        "documents.offsets": offsets_of(map(len, lines)),
        "documents.bytes": np.frombuffer(b"".join(lines), np.uint8),
        "keys": np.fromiter((key(row.id) for row in rows), np.uint64, len(rows)),
        "facets.offsets": offsets_of(map(len, facets)),
        "facets.keys": np.fromiter((k for keys in facets for k in keys), np.uint64),
    }


def key_order(arrays: Arrays) -> NDArray[np.int64]:
    """A segment's rows in the order of their keys."""
    return np.argsort(arrays["keys"], kind="stable")


def rows_of_ids(arrays: Arrays, ids: Mapping[int, str]) -> NDArray[np.int64]:
    """The rows of a segment that belong to one of the ids, sorted. ids: each id by its key."""
    order = arrays["key_order"]
    wanted = np.fromiter(ids, np.uint64, len(ids))
    low = np.searchsorted(arrays["keys"], wanted, "left", sorter=order)
    high = np.searchsorted(arrays["keys"], wanted, "right", sorter=order)
    rows = [order[a:b] for a, b in zip(low, high, strict=True) if b > a]
    candidates = np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.int64)
    # Two ids may share a key, so compare the ids themselves.
    return candidates[[read_row(arrays, r).id == ids[int(arrays["keys"][r])] for r in candidates.tolist()]]
