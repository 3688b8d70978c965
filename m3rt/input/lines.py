"""Lines of UTF-8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from .record import Unreadable

LINE_BYTES = 1 << 24  # the most that one line may have: a file without line ends must not fill the memory


def lines(file: IO[bytes]) -> Iterator[str]:
    """Each line with its end: a line feed, or a carriage return in a file without line feeds, as old Macs wrote them.

    No other character ends a line: a text may hold form feeds and U+2028. A byte order mark at the start is left out.
    """
    for place, line in enumerate(_raw(file), 1):
        if b"\0" in line:
            raise Unreadable(place, "a NUL byte, as in binary files and UTF-16, expected UTF-8 text; convert it")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise Unreadable(place, f"{error.reason}, expected UTF-8; convert it with iconv") from None
        yield text.removeprefix("\ufeff") if place == 1 else text


def _raw(file: IO[bytes]) -> Iterator[bytes]:
    place = 0
    while line := file.readline(LINE_BYTES + 1):
        place += 1
        if len(line) > LINE_BYTES:
            raise Unreadable(place, f"more than {LINE_BYTES:,} bytes without a line end; put each text on its own line")
        if place == 1 and b"\r" in line and not line.endswith(b"\n"):
            yield from (part + b"\n" for part in line.removesuffix(b"\r").split(b"\r"))
        else:
            yield line
