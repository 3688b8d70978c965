"""Files of embeddings: a table of formats, each of which writes parts and joins them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ..errors import InputError, OutputError
from ..host.extras import missing
from .part import Part

__all__ = ["FORMATS", "Format", "Part", "check_link", "format_of"]

FORMATS = {".jsonl": ".jsonl", ".npz": ".npz", ".parquet": ".parquet"}  # suffix: module
_EXTRAS = {".parquet": "parquet"}  # suffix: the extra that installs what the module imports


class Format(Protocol):
    """One file format. Every file that it writes is a complete file of the format, also that of a part."""

    def write(self, part: Part, path: Path) -> None:
        """Write one part as a file. Raises OSError."""
        ...

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write the content of part files, in order, as one file, in the memory of a few parts. Raises OSError."""
        ...


def check_link(path: Path) -> None:
    """Raise OutputError for a link without a target: the file would appear where nobody looks for it."""
    if path.is_symlink() and not path.exists():
        raise OutputError(f"{path} links to {os.readlink(path)}, which is not there; remove the link or name a file")


def format_of(path: str | Path) -> Format:
    """The format that a file's name asks for. Raises InputError when there is none or its package is missing."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path} ends in {suffix or 'no suffix'!r}, expected one of {', '.join(FORMATS)}; rename it")
    try:
        module: Any = import_module(FORMATS[suffix], __name__)
    except ImportError as error:
        raise InputError(missing(str(path), error.name or "a package", _EXTRAS[suffix])) from None
    return module  # type: ignore[no-any-return]
