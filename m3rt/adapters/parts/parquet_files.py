"""Files of texts into files of embeddings, one for one: what many machines share out among them, and resume."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError, OutputError
from ...host.files import replacing
from ...values.listing import listed
from ...values.shown import reason, shown
from ..arrow import TableEncoder

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetFile

_ROWS = 1024  # encoded at a time
_SUFFIX = ".parquet"
_LEFTOVER = re.compile(rf"\..+{re.escape(_SUFFIX)}\.[0-9]+", re.IGNORECASE | re.DOTALL)  # .NAME.parquet.PID


@dataclass(frozen=True, slots=True)
class FilePair:
    """A Parquet file of texts and the one of its embeddings."""

    source: Path
    target: Path


class _Unreadable(InputError):
    """A source that is damaged or cannot be read; its message names it."""


def pairs(files: Iterable[str | Path], out: Path) -> tuple[list[FilePair], int]:
    """The pairs whose target is not there yet, and how many are; targets have their sources' names, in `out`.

    Raises InputError for a file that is not there or no .parquet, and for two of one name.
    """
    sources = [Path(file) for file in listed("files", files, "a list of paths")]
    names: dict[str, Path] = {}
    for source in sources:
        if source.suffix.lower() != _SUFFIX or not source.is_file():
            raise InputError(f"{source} is no {_SUFFIX} file that is there; give files of that kind")
        if names.setdefault(source.name, source) is not source:
            raise InputError(f"two files are named {shown(source.name)}; rename one, since results have the same names")
    found = [FilePair(source, out / source.name) for source in sources]
    todo = [pair for pair in found if not pair.target.exists()]
    return todo, len(found) - len(todo)


def remove_leftovers(out: Path) -> None:
    """Remove what killed calls were writing, by the names of replacing(); other hidden files are somebody else's."""
    for path in list(out.iterdir()):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink()


def encode_file(encode: TableEncoder, pair: FilePair) -> int:
    """Write the target, whole or not at all; returns its rows. Raises InputError, EngineError and OutputError."""
    from pyarrow import ArrowException, parquet

    try:
        source = parquet.ParquetFile(pair.source)
    except (OSError, ArrowException) as error:
        raise _unreadable(pair.source, error) from None
    writer = None
    try:
        with source, replacing(pair.target) as aside:
            for batch in _batches(source, pair.source):
                table = encode(batch)
                writer = writer or parquet.ParquetWriter(aside, table.schema)
                writer.write_table(table)
            writer = writer or parquet.ParquetWriter(aside, encode(source.schema_arrow.empty_table()).schema)
            writer.close()
    except _Unreadable:
        raise
    except InputError as error:
        raise InputError(f"{pair.source}: {error}") from None
    except OSError as error:
        raise OutputError(f"{pair.target} cannot be written: {error.strerror or error}") from None
    rows: int = source.metadata.num_rows
    return rows


def _batches(source: ParquetFile, path: Path) -> Iterator[RecordBatch]:
    """The rows of a file. An error is the source's, while those of the block that uses them may be the target's."""
    from pyarrow import ArrowException

    batches = source.iter_batches(_ROWS)
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ArrowException) as error:
            raise _unreadable(path, error) from None
        if batch is None:
            return
        yield batch


def _unreadable(path: Path, error: Exception) -> _Unreadable:
    return _Unreadable(f"{path} cannot be read: {reason(error)}")
