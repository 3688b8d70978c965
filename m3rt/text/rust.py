"""Errors of Hugging Face's tokenizers, which is Rust: bare Exceptions, and panics that no `except Exception` sees."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ..errors import BundleError

_STDERR = 2
_hushing = threading.RLock()
_commands = threading.Event()


def hush_panics() -> None:
    """Keep what panics write off stderr from now on: for a process whose stderr is m3rt's alone."""
    _commands.set()


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Raise whatever goes wrong in this block as a BundleError of one line that begins with `what`."""
    try:
        with _hushed():
            yield
    except (BundleError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # the class of a panic cannot be imported
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{what}: {reason:.200}; export the bundle again") from None


@contextmanager
def _hushed() -> Iterator[None]:
    """A panic writes its stack on stderr, up to 1800 lines, before it can be caught."""
    with ExitStack() as stack:
        if _commands.is_set():
            stack.enter_context(_hushing)
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
