"""Errors of Hugging Face's tokenizers, which is Rust: bare Exceptions, and panics that no `except Exception` sees."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from .errors import BundleError

_STDERR = 2


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Raise whatever goes wrong in this block as a BundleError of one line that begins with `what`."""
    try:
        with _panics_hushed():
            yield
    except (BundleError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # the class of a panic cannot be imported
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{what}: {reason:.200}; export the bundle again") from None


@contextmanager
def _panics_hushed() -> Iterator[None]:
    """A panic writes its stack on stderr before it can be caught: keep that away where no other thread writes there."""
    with ExitStack() as stack:
        if threading.active_count() == 1:
            try:
                kept, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
            except OSError:  # stderr is closed
                pass
            else:
                stack.callback(os.close, kept)
                stack.callback(os.dup2, kept, _STDERR)
                os.dup2(nowhere, _STDERR)
                os.close(nowhere)
        yield
