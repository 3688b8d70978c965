"""Rows of Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from ..errors import InputError
from ..host.extras import missing
from .record import PlacedRows, Unreadable


def parquet_rows(file: IO[bytes], field: str, others: Sequence[str] | None) -> PlacedRows:
    """Each row as a dict of the columns `field` and `others` (None: all columns); missing ones are left out."""
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(missing("a parquet input", "pyarrow", "parquet")) from None
    try:
        table = ParquetFile(file)
        names = table.schema_arrow.names
        # Without the field all columns are read, so that the error can name them.
        wanted = names if others is None or field not in names else [field, *others]
        if twice := [name for name in wanted if names.count(name) > 1]:
            raise Unreadable(0, f"column {twice[0]!r:.40} is there twice; rename one")
        batches = table.iter_batches(batch_size=1024, columns=wanted)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise Unreadable(0, f"is no parquet file that can be read ({reason:.200})") from None
