"""Rows of CSV and TSV under a header."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from ..values.counts import counted
from .lines import LINE_BYTES, lines
from .record import PlacedRows, Unreadable

_FIELD_LINES = 1000  # a quote that opens a field of TSV and does not close within so many lines is text

_ADVICE = {
    ";": "';' stands between its columns, expected ','; save it as CSV with commas",
    "\t": "tabs stand between its columns; say --input-format tsv",
    "|": "'|' stands between its columns, expected ','; save it as CSV with commas",
    ",": "commas stand between its columns; say --input-format csv",
}


def comma_separated(file: IO[bytes], field: str) -> PlacedRows:
    """CSV by RFC 4180, strictly: otherwise a quote that never closes would take the rest of the file as one text."""
    csv.field_size_limit(LINE_BYTES)
    reader = csv.reader(lines(file), strict=True)
    try:
        yield from _rows(((reader.line_num, row) for row in reader), field, ",")
    except csv.Error as error:
        raise Unreadable(reader.line_num, f"{error}; quote fields as CSV does") from None


def tab_separated(file: IO[bytes], field: str) -> PlacedRows:
    """A row is a line. A quote is text, unless the line reads as CSV: Excel and pandas quote fields that hold quotes.

    A field that opens a quote on one line and closes it on a later one may be one text or several: that is refused.
    """
    csv.field_size_limit(LINE_BYTES)
    yield from _rows(_tab_rows(lines(file)), field, "\t")


def raw_tab_separated(file: IO[bytes], field: str) -> PlacedRows:
    """A row is a line, and a quote is text (IANA's text/tab-separated-values)."""
    split = ((place, _ended(line).split("\t")) for place, line in enumerate(lines(file), 1))
    yield from _rows(((place, row) for place, row in split if row != [""]), field, "\t")


def _tab_rows(source: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    opened: list[str] = []  # lines from one that leaves a quote open
    first = columns = 0
    for place, line in enumerate(source, 1):
        if opened:
            opened.append(line)
            whole = _quoted(opened) if '"' in line else []
            if whole and len(whole) == columns:
                raise Unreadable(
                    first,
                    f"a quote opens a field that line {place} closes, which may be one text or several; say "
                    "--input-format tsv-raw if a row is a line and quotes are text, else save it as CSV",
                )
            if whole != [] or len(opened) > _FIELD_LINES:
                opened = []
        text = _ended(line)
        if not text:
            continue
        row = _quoted([text])
        if row == [] and not opened:
            opened, first = [line], place
        row = row or text.split("\t")
        columns = columns or len(row)
        yield place, row


def _ended(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _quoted(parts: Sequence[str]) -> list[str] | None:
    """Read lines as one row of CSV with tabs: an empty list while a quote is open, None if they are no CSV."""
    reader = csv.reader(parts, delimiter="\t", strict=True)
    try:
        return next(reader, None)
    except csv.Error as error:
        return [] if "end of data" in str(error) else None


def _rows(rows: Iterable[tuple[int, list[str]]], field: str, delimiter: str) -> PlacedRows:
    """Each row after the header as a dict of its columns."""
    header: list[str] = []
    for place, row in rows:
        if not row:
            continue
        if not header:
            header = row
            _check_header(header, field, delimiter, place)
        elif len(row) != len(header):
            raise Unreadable(
                place,
                f"{counted(len(row), 'column')}, expected the header's {len(header)}; "
                "a field with line ends is quoted in CSV",
            )
        else:
            yield place, dict(zip(header, row, strict=True))


def _check_header(header: Sequence[str], field: str, delimiter: str, place: int) -> None:
    if twice := [name for name in header if header.count(name) > 1]:
        raise Unreadable(place, f"column {twice[0]!r:.40} is there twice; rename one")
    if len(header) == 1 and header != [field]:
        for other, advice in _ADVICE.items():
            if other != delimiter and other in header[0]:
                raise Unreadable(place, f"the header is one column, {header[0]!r:.80}: {advice}")
