"""Files of texts into files of embeddings, one for one: what many machines share out among them, and resume."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, OutputError
from ..host.files import replacing
from ..values.listing import listed
from ..values.shown import shown
from .arrow import TableEncoder

_ROWS = 1024  # encoded at a time
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class FilePair:
    """A Parquet file of texts and the one of its embeddings."""

    source: Path
    target: Path


def pairs(files: Iterable[str | Path], out: Path) -> tuple[list[FilePair], int]:
    """The pairs whose target is not there yet, and how many are; targets have their sources' names, in `out`.

    Raises InputError for a file that is not there or no .parquet, and for two of one name.
    """
    sources = [Path(file) for file in listed("files", files, "a list of paths")]
    names: dict[str, Path] = {}
    for source in sources:
        if source.suffix.lower() != SUFFIX or not source.is_file():
            raise InputError(f"{source} is no {SUFFIX} file that is there; give files of that kind")
        if names.setdefault(source.name, source) is not source:
            raise InputError(f"two files are named {shown(source.name)}; rename one, since results have the same names")
    found = [FilePair(source, out / source.name) for source in sources]
    todo = [pair for pair in found if not pair.target.exists()]
    return todo, len(found) - len(todo)


def encode_file(encode: TableEncoder, pair: FilePair) -> int:
    """Write the target, whole or not at all; returns its rows. Raises InputError, EngineError and OutputError."""
    from pyarrow import ArrowException, parquet

    try:
        source = parquet.ParquetFile(pair.source)
    except (OSError, ArrowException) as error:
        raise InputError(f"{pair.source} cannot be read: {error}") from None
    writer = None
    try:
        with source, replacing(pair.target) as aside:
            for batch in source.iter_batches(_ROWS):
                table = encode(batch)
                writer = writer or parquet.ParquetWriter(aside, table.schema)
                writer.write_table(table)
            writer = writer or parquet.ParquetWriter(aside, encode(source.schema_arrow.empty_table()).schema)
            writer.close()
    except InputError as error:
        raise InputError(f"{pair.source}: {error}") from None
    except OSError as error:
        raise OutputError(f"{pair.target} cannot be written: {error.strerror or error}") from None
    rows: int = source.metadata.num_rows
    return rows
