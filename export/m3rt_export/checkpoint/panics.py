"""Errors of the tokenizers library, Rust's panics among them, as one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from m3rt.errors import CheckpointError


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Whatever the library raises over the tokenizer of `path` becomes a CheckpointError."""
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
    """Rust reports a panic on the process's stderr before Python sees it: up to thousands of lines."""
    try:
        saved = os.dup(2)
    except OSError:  # closed: nothing can be printed there
        yield
        return
    try:
        with suppress(OSError), open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
