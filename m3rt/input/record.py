"""A record: a checked text with its id and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PlacedRows = Iterator[tuple[int, Mapping[str, Any]]]  # for each row its line or row number in the file, and its fields


@dataclass(frozen=True, slots=True)
class Record:
    """A text of valid Unicode, its id if the input has one, and the other fields of its row if they are kept."""

    text: str
    id: str | int | None = None
    metadata: Mapping[str, Any] | None = None


class Unreadable(Exception):
    """A fault and the line or row where it is; 0 means the file as a whole."""

    def __init__(self, place: int, message: str) -> None:
        super().__init__(message)
        self.place = place


def check_unicode(value: str, place: int) -> None:
    """Raise Unreadable for a lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        raise Unreadable(
            place,
            f"lone surrogate U+{code:04X} at character {error.start}, expected valid Unicode; repair or remove it",
        ) from None


def chunks(records: Iterable[Record], texts: int, characters: int) -> Iterator[list[Record]]:
    """Consecutive records in chunks that end after `texts` records or `characters`; no records are one empty chunk."""
    chunk: list[Record] = []
    length, empty = 0, True
    for record in records:
        chunk.append(record)
        length += len(record.text)
        if len(chunk) == texts or length >= characters:
            yield chunk
            chunk, length, empty = [], 0, False
    if chunk or empty:
        yield chunk
