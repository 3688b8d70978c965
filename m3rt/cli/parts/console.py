"""Output of commands: data on stdout, lines and bars for people on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ...errors import OutputError
from ...values.printable import plain, to_json

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


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


def emit_text(*lines: str) -> None:
    """emit() lines for people, each of them one line whatever it holds, in UTF-8 whatever the locale."""
    emit_styled(map(plain, lines))


def emit_styled(lines: Iterable[str]) -> None:
    """emit() lines that are plain() already, except for their escape codes."""
    emit([f"{line}\n".encode("utf-8", "backslashreplace") for line in lines])


def emit_json(value: Any, *, indent: int | None = None) -> None:
    """emit() a value as JSON that a terminal can show too."""
    emit([f"{to_json(value, indent)}\n".encode()])


def open_missing_streams() -> None:
    """Replace standard streams that were closed when the process started.

    stdin is empty then, and lines on stderr are lost. The file behind stdout is open for reading only, so that results
    end in an error in place of nothing.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: SIM115


def close_stdout() -> None:
    """Discard what a failed stdout still buffers; otherwise Python would complain when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """warnings.showwarning, without the source line."""
    say(f"warning: {message}")


def bar(**options: Any) -> Any:
    """A tqdm bar that only a terminal sees: logs would fill with its redrawings."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def set_description_str(self, desc: str | None = None, refresh: bool = True) -> None:
            super().set_description_str(plain(desc or ""), refresh)

    return Bar(disable=None, dynamic_ncols=True, smoothing=0, **options)


def size(n: float) -> str:
    """Bytes for people, in powers of 1000."""
    power = 0
    while n >= 1000 and power < len(_UNITS) - 1:
        n, power = n / 1000, power + 1
    return f"{n:.4g} {_UNITS[power]}"
