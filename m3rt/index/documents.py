"""Documents as an index stores them: a line of JSON for each row, and 64-bit keys to find rows by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import HybridIndexError, InputError
from ..manifest import SURROGATE
from .columns import Arrays

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of a row: a document, or the chunk of one that `span` cuts out, in characters."""

    id: str
    text: str | None = None
    metadata: Mapping[str, Any] | None = None
    span: tuple[int, int] | None = None

    def to_json(self) -> bytes:
        """One line; InputError when the metadata is none that JSON can hold."""
        found = {"id": self.id, "text": self.text, "metadata": self.metadata or None, "span": self.span}
        try:
            line = json.dumps({k: v for k, v in found.items() if v is not None}, ensure_ascii=False, allow_nan=False)
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
            return cls(found["id"], found.get("text"), found.get("metadata"), span and (span[0], span[1]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HybridIndexError(
                f"a stored document is damaged ({error!r:.80}); m3rt index info --verify names it"
            ) from None


def read_row(arrays: Arrays, row: int) -> Row:
    """What a segment stores of one row."""
    start, end = arrays["documents.offsets"][row : row + 2]
    return Row.from_json(arrays["documents.bytes"][start:end].tobytes())


def document_arrays(rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """The columns that hold `rows`, their keys and facets."""
    lines = [row.to_json() for row in rows]
    facets = [facet_keys(row.metadata or {}) for row in rows]
    return {
        "documents.offsets": _offsets(map(len, lines), len(lines)),
        "documents.bytes": np.frombuffer(b"".join(lines), np.uint8),
        "keys": np.fromiter((key(row.id) for row in rows), np.uint64, len(rows)),
        "facets.offsets": _offsets(map(len, facets), len(facets)),
        "facets.keys": np.fromiter((k for keys in facets for k in keys), np.uint64),
    }


def derived(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """What finds rows of a segment: the order of its keys, and for each facet its rows."""
    owners = np.repeat(np.arange(len(arrays["keys"])), np.diff(arrays["facets.offsets"]))
    order = np.argsort(arrays["facets.keys"], kind="stable")
    keys, starts = np.unique(arrays["facets.keys"][order], return_index=True)
    return {
        "key_order": np.argsort(arrays["keys"], kind="stable"),
        "facet_keys": keys,
        "facet_starts": np.append(starts, len(order)).astype(np.int64),
        "facet_rows": owners[order],
    }


def rows_of_ids(arrays: Arrays, ids: Mapping[int, str]) -> NDArray[np.int64]:
    """The rows of a segment whose document is among `ids`, given by their keys, sorted."""
    order = arrays["key_order"]
    wanted = np.fromiter(ids, np.uint64, len(ids))
    found = arrays["keys"][order]
    low, high = np.searchsorted(found, wanted, "left"), np.searchsorted(found, wanted, "right")
    rows = [order[a:b] for a, b in zip(low, high, strict=True) if b > a]
    candidates = np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.int64)
    # Two ids may have one key; the documents themselves decide.
    return candidates[[read_row(arrays, r).id == ids[int(arrays["keys"][r])] for r in candidates.tolist()]]


def filter_rows(arrays: Arrays, wanted: Mapping[str, Scalar]) -> NDArray[np.bool_]:
    """Which rows of a segment have all of the wanted metadata, (rows,) bool."""
    kept = np.ones(len(arrays["keys"]), np.bool_)
    for field, value in wanted.items():
        place = int(np.searchsorted(arrays["facet_keys"], np.uint64(facet_key(field, value))))
        has = np.zeros(len(kept), np.bool_)
        if place < len(arrays["facet_keys"]) and arrays["facet_keys"][place] == facet_key(field, value):
            start, end = arrays["facet_starts"][place : place + 2]
            has[arrays["facet_rows"][start:end]] = True
        kept &= has
    return kept


def has_field(arrays: Arrays, field: str) -> bool:
    """Whether any row of a segment has that field in its metadata."""
    place = int(np.searchsorted(arrays["facet_keys"], np.uint64(_field_key(field))))
    return place < len(arrays["facet_keys"]) and bool(arrays["facet_keys"][place] == _field_key(field))


def facet_keys(metadata: Mapping[str, Any]) -> list[int]:
    """The keys by which a document is filtered: one for each field, one for each field's value."""
    keys = []
    for field, value in metadata.items():
        keys.append(_field_key(field))
        if isinstance(value, Scalar):
            keys.append(facet_key(field, value))
    return keys


def facet_key(field: str, value: Scalar) -> int:
    """The key of a value, by its text: "2020" and 2020 are equal, so are true and "true"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return key(f"{field}\0{value if isinstance(value, str) else json.dumps(value)}")


def _field_key(field: str) -> int:
    return key(f"{field}\0\0")


def key(text: str) -> int:
    """64 bits of a hash: among a million texts two share a key with a probability of 3e-8."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def check_ids(ids: object) -> list[str]:
    """`ids` as a list of distinct valid strings; InputError names the first that is not."""
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise InputError(f"ids is a {type(ids).__name__}, expected a list of str")
    listed = list(ids)
    seen: dict[str, int] = {}
    for i, name in enumerate(listed):
        if not isinstance(name, str) or not name:
            raise InputError(f"id {i} is {name!r:.60}, expected a string of at least one character")
        if SURROGATE.search(name):
            raise InputError(f"id {i} holds a lone surrogate, expected valid Unicode; repair it")
        if seen.setdefault(name, i) != i:
            raise InputError(f"id {i} is {name!r:.60} again, as id {seen[name]}; give each id once")
    return listed


def _offsets(lengths: Iterable[int], n: int) -> NDArray[np.int64]:
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, n), out=offsets[1:])
    return offsets
