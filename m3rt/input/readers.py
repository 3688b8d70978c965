"""The formats of texts: the reader of each, and the format of each suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO

from .json_values import json_lines, json_values
from .lines import lines
from .record import PlacedRows
from .separated import comma_separated, raw_tab_separated, tab_separated


def plain_lines(file: IO[bytes], field: str) -> PlacedRows:
    """A text on each line; an empty line is an empty text."""
    for place, line in enumerate(lines(file), 1):
        yield place, {field: line.removesuffix("\n").removesuffix("\r")}


# The reader of each format takes the field of the text. That of Parquet is None: it also needs the other columns.
READERS: Mapping[str, Callable[[IO[bytes], str], PlacedRows] | None] = {
    "txt": plain_lines,
    "jsonl": json_lines,
    "json": json_values,
    "csv": comma_separated,
    "tsv": tab_separated,
    "tsv-raw": raw_tab_separated,
    "parquet": None,
}
SUFFIXES: Mapping[str, str] = {
    "": "txt",
    ".txt": "txt",
    ".text": "txt",
    ".md": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
