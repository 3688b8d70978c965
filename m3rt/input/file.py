"""A file of texts, or stdin: opened, unpacked, read in its format, each row a record."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from ..errors import InputError
from ..values.shown import a_kind
from .containers import GZIP, PARQUET, head, refuse_containers
from .readers import READERS, SUFFIXES
from .record import PlacedRows, Record, Unreadable, check_unicode

TEXT, TITLE = "text", "title"
IDS = ("_id", "id")  # BEIR's comes first (arXiv:2104.08663)
_GZ = ".gz"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TextFile:
    """The texts of a file, or of stdin where `path` is "-"; each iteration reads it from the start.

    format: a key of READERS; None means that the file's name decides. field: the column or key of the text, by default
    "text". id_field: the column or key of the id, by default "_id", or "id" where a row has no "_id". metadata:
    whether to keep all other fields. titles: whether a "title" goes before the text, as in BEIR, unless `field` is
    given. A file that gzip compressed is unpacked, whatever its name. Iterating raises InputError with the line.
    """

    path: str
    format: str | None = None
    field: str | None = None
    id_field: str | None = None
    metadata: bool = False
    titles: bool = False

    def __iter__(self) -> Iterator[Record]:
        return self._each(lambda place, row: _record(row, self, place))

    def ids(self) -> Iterator[str]:
        """The id of each row alone; of plain text, each line that is not blank is one."""
        if self._format() == "txt":
            return filter(str.strip, self._each(lambda place, row: str(row[self._text])))
        return self._each(lambda place, row: _needed_id(row, self, place))

    @property
    def id_names(self) -> str:
        """The fields that may hold an id, as text for messages."""
        return " or ".join(map(repr, reversed(self.id_fields)))

    @property
    def _text(self) -> str:
        return self.field or TEXT

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The fields that may hold an id, the one that counts first."""
        return (self.id_field,) if self.id_field else IDS

    def _each(self, made: Callable[[int, Mapping[str, Any]], T]) -> Iterator[T]:
        name = "stdin" if self.path == "-" else self.path
        unit = "row" if self._format() == "parquet" else "line"
        try:
            with ExitStack() as stack:
                for place, row in self._rows(stack):
                    yield made(place, row)
        except Unreadable as error:
            raise InputError(f"{name}, {unit} {error.place}: {error}" if error.place else f"{name} {error}") from None
        except (EOFError, zlib.error) as error:
            raise InputError(f"{name} is cut off or damaged gzip ({error}); fetch it again") from None
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror or error}") from None

    def _format(self) -> str | None:
        """`format`, or else the format of the name's suffix; None for an unknown suffix."""
        path = Path("" if self.path == "-" else self.path.lower())
        return self.format or SUFFIXES.get((path.with_suffix("") if path.suffix == _GZ else path).suffix)

    def _open(self, stack: ExitStack) -> IO[bytes]:
        return sys.stdin.buffer if self.path == "-" else stack.enter_context(Path(self.path).open("rb"))

    def _rows(self, stack: ExitStack) -> PlacedRows:
        raw = self._open(stack)
        file, format = _unpacked(raw), self._format()
        start = head(file)
        if format != "parquet" or not start.startswith(PARQUET):
            refuse_containers(start)
        if format is None:
            known = ", ".join(filter(None, SUFFIXES))
            raise Unreadable(
                0, f"has a suffix that says no format, expected {known}, or none, or {_GZ} after it; use --input-format"
            )
        if read := READERS[format]:
            return read(file, self._text)
        from .parquet import parquet_rows

        seekable = file if file is raw and raw.seekable() else _copied(file, stack)
        return parquet_rows(seekable, self._text, None if self.metadata else self.id_fields)


def arguments(texts: Sequence[str]) -> Iterator[Record]:
    """Records of the texts in a list. Raises InputError."""
    for i, text in enumerate(texts):
        try:
            check_unicode(text, i)
        except Unreadable as error:
            raise InputError(f"text {error.place}: {error}") from None
        yield Record(text)


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """The file, unpacked if gzip compressed it."""
    if not head(file).startswith(GZIP):
        return file
    from gzip import GzipFile
    from io import BufferedReader

    return cast(IO[bytes], BufferedReader(cast(Any, GzipFile(fileobj=file))))


def _copied(file: IO[bytes], stack: ExitStack) -> IO[bytes]:
    """A file on disk with the bytes of a stream, for readers that seek."""
    import shutil
    import tempfile

    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    shutil.copyfileobj(file, copy, 1 << 20)
    copy.seek(0)
    return copy


def _record(row: Mapping[str, Any], file: TextFile, place: int) -> Record:
    name = file.field or TEXT
    if name not in row:
        raise Unreadable(place, f"no {name!r} among {', '.join(map(str, row)) or 'no fields'}; choose with --field")
    text = row[name]
    if not isinstance(text, str):
        raise Unreadable(place, f"{name!r} is {a_kind(text)}, expected a string; choose with --field")
    title = row.get(TITLE) if file.titles and not file.field else None
    if title and isinstance(title, str):
        text = f"{title} {text}" if text else title
    check_unicode(text, place)
    key_name, key = _id(row, file, place)
    rest = {other: value for other, value in row.items() if other not in (name, key_name)} if file.metadata else None
    return Record(text, key, rest)


def _id(row: Mapping[str, Any], file: TextFile, place: int) -> tuple[str | None, str | int | None]:
    """The field that holds the id and the id, or None for both. A field that was asked for must be there."""
    if file.id_field and file.id_field not in row:
        raise _no_id(row, file, place)
    name = next((name for name in file.id_fields if row.get(name) is not None), None)
    key = row[name] if name else None
    if not isinstance(key, str | int | None):
        raise Unreadable(
            place, f"{name!r} is {a_kind(key)}, expected a string or a whole number; choose with --id-field"
        )
    check_unicode(str(key), place)
    return name, key


def _needed_id(row: Mapping[str, Any], file: TextFile, place: int) -> str:
    _, key = _id(row, file, place)
    if key is None:
        raise _no_id(row, file, place)
    return str(key)


def _no_id(row: Mapping[str, Any], file: TextFile, place: int) -> Unreadable:
    return Unreadable(place, f"no {file.id_names} among {', '.join(map(str, row))}; choose with --id-field")
