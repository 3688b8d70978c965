"""A record: a text with what stands beside it, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Rows = Iterator[tuple[int, Mapping[str, Any]]]  # place in the file, fields


@dataclass(frozen=True, slots=True)
class Record:
    """A text of valid Unicode, its id where the input gives one, and what else stands beside it, if that is kept."""

    text: str
    id: str | int | None = None
    metadata: Mapping[str, Any] | None = None


class Unreadable(Exception):
    """What is wrong at which place; 0 is the file as a whole."""

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
    """Consecutive records, cut after `texts` of them or `characters`; where there are none, one empty chunk."""
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
