"""Texts from files and streams: read one at a time, checked, with the ids that they carry."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError

Rows = Iterator[tuple[int, Mapping[str, Any]]]  # place in the file, fields
_CSV_FIELD = 2**31 - 1  # characters; the csv module's own limit is below a long document


@dataclass(frozen=True, slots=True)
class Record:
    """A text of valid Unicode, its id where the input gives one, and what else stands beside it, if that is kept."""

    text: str
    id: str | int | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TextFile:
    """The texts of a file, or of stdin where `path` is "-"; each iteration reads it from the start.

    format: a key of READERS; None goes by the file's name, and what no name tells is plain text. field: the
    column or key that holds the text; id_field beside it is kept, and with `metadata` all that is there.
    Iterating raises InputError, with the line.
    """

    path: str
    format: str | None = None
    field: str = "text"
    id_field: str = "id"
    metadata: bool = False

    def __iter__(self) -> Iterator[Record]:
        name = "stdin" if self.path == "-" else self.path
        read, unit = READERS[self.format or SUFFIXES.get(Path(self.path).suffix.lower(), "txt")]
        try:
            with self._open() as file:
                for place, row in read(file, self):
                    yield _record(row, self, place)
        except _Unreadable as error:
            raise InputError(f"{name}, {unit} {error.place}: {error}") from None
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror or error}") from None

    def _open(self) -> AbstractContextManager[BinaryIO]:
        return nullcontext(sys.stdin.buffer) if self.path == "-" else Path(self.path).open("rb")


_ARGUMENTS = TextFile("-")


def arguments(texts: Sequence[str]) -> Iterator[Record]:
    """Records of texts given one by one. Raises InputError."""
    for i, text in enumerate(texts):
        try:
            yield _record({"text": text}, _ARGUMENTS, i)
        except _Unreadable as error:
            raise InputError(f"text {error.place}: {error}") from None


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


class _Unreadable(Exception):
    """What is wrong at which place."""

    def __init__(self, place: int, message: str) -> None:
        super().__init__(message)
        self.place = place


def _record(row: Mapping[str, Any], file: TextFile, place: int) -> Record:
    field = file.field
    if field not in row:
        raise _Unreadable(place, f"no {field!r} among {', '.join(map(str, row)) or 'no fields'}; choose with --field")
    text, key = row[field], row.get(file.id_field)
    if not isinstance(text, str):
        raise _Unreadable(place, f"{field!r} is a {type(text).__name__}, expected a string; choose with --field")
    if not isinstance(key, str | int | None):
        raise _Unreadable(
            place, f"{file.id_field!r} is a {type(key).__name__}, expected a string or a whole number; mend it"
        )
    for value in (text, str(key)):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            code, start = ord(value[error.start]), error.start
            raise _Unreadable(
                place, f"lone surrogate U+{code:04X} at character {start}, expected valid Unicode; repair or remove it"
            ) from None
    rest = {name: value for name, value in row.items() if name not in (field, file.id_field)} if file.metadata else None
    return Record(text, key, rest)


def _lines(file: BinaryIO) -> Iterator[str]:
    for place, line in enumerate(file, 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise _Unreadable(place, f"{error.reason}, expected UTF-8; convert it with iconv") from None
        yield text.removeprefix("\ufeff") if place == 1 else text


def _plain(file: BinaryIO, source: TextFile) -> Rows:
    for place, line in enumerate(_lines(file), 1):
        yield place, {source.field: line.removesuffix("\n").removesuffix("\r")}


def _jsonl(file: BinaryIO, source: TextFile) -> Rows:
    for place, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _Unreadable(place, f"not JSON ({getattr(error, 'msg', error)}), expected an object") from None
        if not isinstance(row, dict):
            raise _Unreadable(place, f"a JSON {type(row).__name__}, expected an object with {source.field!r}")
        yield place, row


def _separated(file: BinaryIO, source: TextFile, *, delimiter: str) -> Rows:
    csv.field_size_limit(_CSV_FIELD)
    # Strict: a quote that never closes would otherwise swallow the rest of the file as one text.
    reader = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if twice := [name for name in header if header.count(name) > 1]:
            raise _Unreadable(reader.line_num, f"column {twice[0]!r:.40} is there twice; rename one")
        for row in filter(None, reader):
            if len(row) != len(header):
                raise _Unreadable(reader.line_num, f"{len(row)} columns, expected the header's {len(header)}")
            yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise _Unreadable(reader.line_num, f"{error}; quote fields as CSV does") from None


def _parquet(file: BinaryIO, source: TextFile) -> Rows:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError('a parquet input needs pyarrow, which is missing; run: pip install "m3rt[parquet]"') from None
    try:
        table = ParquetFile(file)
        # Without the field all columns are read, so that the error can name them.
        some = not source.metadata and source.field in table.schema_arrow.names
        wanted = [source.field, source.id_field] if some else None
        batches = table.iter_batches(batch_size=1024, columns=wanted)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (OSError, ValueError) as error:  # pyarrow's own errors are these too
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{file.name} is no parquet file that can be read ({reason:.200}); a pipe cannot be one"
        ) from None


READERS: Mapping[str, tuple[Callable[[BinaryIO, TextFile], Rows], str]] = {
    "txt": (_plain, "line"),
    "jsonl": (_jsonl, "line"),
    "csv": (partial(_separated, delimiter=","), "line"),
    "tsv": (partial(_separated, delimiter="\t"), "line"),
    "parquet": (_parquet, "row"),
}
SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
