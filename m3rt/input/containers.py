"""Recognize a file by its first bytes: text, gzip, or a format that some command converts to text."""

from __future__ import annotations

import os
import re
from typing import IO

from .record import Unreadable

GZIP, PARQUET = b"\x1f\x8b\x08", b"PAR1"
_HEAD_BYTES = 512  # first bytes of a file that are looked at

# Pattern of the first bytes, name of the format, command that converts it. Where a text could begin with the same
# letters, the pattern also asks for a byte that no text holds.
_KINDS = tuple(
    (re.compile(pattern, re.DOTALL), kind, advice)
    for pattern, kind, advice in (
        (rb"\xff\xfe\0\0|\0\0\xfe\xff", "UTF-32 text", "iconv -f UTF-32 -t UTF-8 FILE > utf8.txt"),
        (rb"\xff\xfe|\xfe\xff", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE > utf8.txt"),
        (
            rb"PK(\x03\x04|\x05\x06).{26,}(\[Content_Types\]|_rels/|word/|xl/|mimetypeappl)",
            "an Office file",
            "soffice --convert-to csv FILE",
        ),
        (rb"PK(\x03\x04|\x05\x06)", "a zip archive", "unzip FILE"),
        (rb"%PDF-", "a PDF", "pdftotext FILE texts.txt"),
        (rb"\x28\xb5\x2f\xfd", "zstd-compressed", "zstd -d FILE"),
        (rb"\xfd7zXZ\0", "xz-compressed", "xz -dk FILE"),
        (rb"BZh[1-9]1AY&SY", "bzip2-compressed", "bzip2 -dk FILE"),
        (rb"\x04\x22\x4d\x18", "lz4-compressed", "lz4 -d FILE"),
        (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7z x FILE"),
        (rb"Rar!\x1a\x07", "a RAR archive", "unrar x FILE"),
        (rb".{257}ustar", "a tar archive", "tar -xf FILE"),
        (rb"PAR1[^\x20-\x7e\r\n\t]", "Parquet", "m3rt's --input-format parquet"),
        (rb"ARROW1\0\0|\xff\xff\xff\xff", "Arrow (Feather)", "pandas.read_feather(FILE).to_parquet(OUT)"),
        (rb"FEA1[^\x20-\x7e\r\n\t]", "Feather", "pandas.read_feather(FILE).to_parquet(OUT)"),
        (rb"SQLite format 3\0", "a SQLite database", 'sqlite3 -csv -header FILE "select * from TABLE" > texts.csv'),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file", "soffice --convert-to csv FILE"),
        (rb"\{\\rtf", "an RTF document", "soffice --convert-to txt FILE"),
        (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|II\*\0|MM\0\*", "an image", "tesseract FILE texts"),
        (rb"Obj\x01", "Avro", "pandas or avro-tools tojson FILE > texts.jsonl"),
        (rb"\x89HDF", "HDF5", "pandas.read_hdf(FILE).to_parquet(OUT)"),
        (rb"\x93NUMPY|\x80[\x02-\x05]", "Python's own binary format", "Python, to .jsonl"),
    )
)


def head(file: IO[bytes]) -> bytes:
    """The first bytes of a buffered file, without moving its position."""
    if peek := getattr(file, "peek", None):
        return bytes(peek(_HEAD_BYTES)[:_HEAD_BYTES])
    start = file.read(_HEAD_BYTES)  # a stream in memory has no peek
    file.seek(-len(start), os.SEEK_CUR)
    return start


def refuse_containers(start: bytes) -> None:
    """Raise Unreadable for the first bytes of a file that is no text."""
    for pattern, kind, advice in _KINDS:
        if pattern.match(start):
            raise Unreadable(0, f"is {kind}, expected UTF-8 text; convert it, as by: {advice}")
