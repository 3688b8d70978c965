"""Errors of Hugging Face's tokenizers (Rust): bare Exceptions, and panics that `except Exception` does not catch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ..errors import BundleError

_STDERR = 2
_hushing = threading.RLock()
_stderr_is_ours = threading.Event()


def hush_panics(hush: bool = True) -> None:
    """Keep panics from writing on stderr from now on, or let them: for a process in which only m3rt writes there.

    It takes a dozen system calls for every call of a tokenizer, too many for a server.
    """
    (_stderr_is_ours.set if hush else _stderr_is_ours.clear)()


@contextmanager
def in_one_line(claim: str) -> Iterator[None]:
    """Raise every failure inside this block as a BundleError of one line that begins with `claim`."""
    try:
        with _hushed():
            yield
    except (BundleError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # the class of a panic cannot be imported
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{claim}: {reason:.200}; export the bundle again") from None


@contextmanager
def _hushed() -> Iterator[None]:
    """Point stderr at nothing: a panic writes its stack there, up to 1800 lines, before it can be caught."""
    with ExitStack() as stack:
        if _stderr_is_ours.is_set():
            stack.enter_context(_hushing)
            try:
                original, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
            except OSError:  # stderr is closed
                pass
            else:
                stack.callback(os.close, original)
                stack.callback(os.dup2, original, _STDERR)
                os.dup2(nowhere, _STDERR)
                os.close(nowhere)
        yield
