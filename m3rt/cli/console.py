"""What commands print: data on stdout, lines and bars for people on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..errors import OutputError

_JOINERS = "\u200c\u200d"  # Persian words and emoji need them, and they move nothing
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def plain(text: str) -> str:
    """The text on one line, without what could move a terminal's cursor or turn its direction."""
    return "".join(c if c.isprintable() or c in _JOINERS else " " for c in text)


def say(message: str) -> None:
    """One line on stderr; on a terminal it takes the place of a half-drawn bar."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    with suppress(OSError):  # a full or closed stderr must not change what the command does
        sys.stderr.write(f"{start}m3rt: {plain(' '.join(message.splitlines()))}\n")
        sys.stderr.flush()


def emit(pieces: Iterable[bytes]) -> None:
    """Write data to stdout at once. Raises OutputError, or BrokenPipeError when its reader has gone."""
    try:
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        close_stdout()
        raise OutputError(f"stdout cannot be written: {error.strerror or error}") from None


def emit_text(text: str) -> None:
    """emit() a text and a line end, in UTF-8 whatever the locale."""
    emit([f"{text}\n".encode("utf-8", "backslashreplace")])


def open_missing_streams() -> None:
    """Give a process that was started with closed standard streams ones that lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def close_stdout() -> None:
    """Let what is still buffered for a stdout that failed go nowhere, or Python would complain when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """warnings.showwarning, without the source line."""
    say(f"warning: {message}")


def bar(**options: Any) -> Any:
    """A tqdm bar that only a terminal sees: logs would fill with its redrawings."""
    from tqdm import tqdm

    return tqdm(disable=None, dynamic_ncols=True, smoothing=0, **options)


def size(n: float) -> str:
    """Bytes for people, in powers of 1000."""
    power = 0
    while n >= 1000 and power < len(_UNITS) - 1:
        n, power = n / 1000, power + 1
    return f"{n:.4g} {_UNITS[power]}"
