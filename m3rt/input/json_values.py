"""Objects of JSON: one on each line, or in a file as a list or one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

from .lines import LINE_BYTES, lines
from .record import PlacedRows, Unreadable

_MAX_NESTED_LEVELS = 100  # lists and objects inside one another
_SPACE = " \t\r\n"
_HOLDERS = (dict, list)


def json_lines(file: IO[bytes], field: str) -> PlacedRows:
    """An object on each line that is not blank."""
    for place, line in enumerate(lines(file), 1):
        if line.strip():
            try:
                yield place, _object(_DECODER.decode(line), field, place)
            except (ValueError, RecursionError) as error:
                raise _not_json(error, place) from None


def json_values(file: IO[bytes], field: str) -> PlacedRows:
    """The objects of a list, or objects one after another, whatever the line ends."""
    values = _Values(lines(file))
    listed = values.skip("[")
    while not values.ended():
        if listed and values.skip("]"):
            if values.ended():
                return
            raise Unreadable(values.place, "more after the list's end, expected one list of objects")
        place = values.place
        yield place, _object(values.take(), field, place)
        if listed and not values.skip(",") and not values.at("]"):
            raise Unreadable(values.place, "not JSON (no ',' or ']' after a list's item), expected a list of objects")
    if listed:
        raise Unreadable(values.place, "not JSON (the list does not end), expected a list of objects")


class _Values:
    """JSON values in a stream of lines; only one value is held in memory."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._text, self._at = "", 0
        self.place = 1  # the line

    def ended(self) -> bool:
        """Whether only white space is left."""
        while True:
            start = self._at
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            self.place += self._text.count("\n", start, self._at)
            if self._at < len(self._text):
                return False
            if not self._more(1):
                return True

    def at(self, sign: str) -> bool:
        return not self.ended() and self._text[self._at] == sign

    def skip(self, sign: str) -> bool:
        """Whether `sign` comes next; if so, move past it."""
        found = self.at(sign)
        self._at += found
        return found

    def take(self) -> Any:
        """The next value. The held text doubles until it is complete, so that the time is linear in its length."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if not (isinstance(error, json.JSONDecodeError) and self._more(len(self._text) - self._at)):
                    raise _not_json(error, self.place) from None
                continue
            self.place += self._text.count("\n", self._at, end)
            self._at = end
            return value

    def _more(self, characters: int) -> bool:
        """Drop the text that was read and hold so many characters more; returns whether there were any."""
        if characters > LINE_BYTES:
            raise Unreadable(self.place, f"a value of more than {LINE_BYTES:,} characters; put each text in its own")
        parts, length = [self._text[self._at :]], 0
        for line in self._source:
            parts.append(line)
            length += len(line)
            if length >= characters:
                break
        self._text, self._at = "".join(parts), 0
        return length > 0


def _object(value: Any, field: str, place: int) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        listed = "; --input-format json reads a list of them" * isinstance(value, list)
        raise Unreadable(place, f"a JSON {type(value).__name__}, expected an object with {field!r}{listed}")
    if _deeper(value, _MAX_NESTED_LEVELS):
        raise Unreadable(place, f"lists and objects in one another more than {_MAX_NESTED_LEVELS} deep; flatten them")
    return value


def _deeper(value: dict[str, Any], levels: int) -> bool:
    layer: list[Any] = [value]
    for _ in range(levels):
        layer = [
            item
            for holder in layer
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, _HOLDERS)
        ]
        if not layer:
            return False
    return True


def _not_json(error: Exception, place: int) -> Unreadable:
    return Unreadable(place, f"not JSON ({getattr(error, 'msg', error)}), expected an object")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.40} is there twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON; write null")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_number)
