"""Turns errors of the tokenizers library, Rust's panics among them, into one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from m3rt.errors import CheckpointError


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn any error that the library raises inside the block into a CheckpointError about `path`."""
    try:
        with _stderr_dropped():
            yield
    except (KeyboardInterrupt, SystemExit, OSError, MemoryError):
        raise
    except BaseException as error:  # a panic is no Exception
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path} is not a tokenizer file that the tokenizers library can use ({reason!a:.160}); fetch it again, or "
            "save the tokenizer again with transformers"
        ) from None


@contextmanager
def _stderr_dropped() -> Iterator[None]:
    """Drop stderr: Rust prints a panic there, up to thousands of lines, before Python sees the error."""
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed, so nothing can be printed
        yield
        return
    try:
        with suppress(OSError), open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
