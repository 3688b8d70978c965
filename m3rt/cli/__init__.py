"""The command line `m3rt`. This module is light, so that Ctrl-C is heard from the start."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run `m3rt` with `args`, by default the process's own, and return the exit status."""
    if args is not None:
        return _commands()(args)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # a background job of a shell ignores SIGINT
        return _commands()(sys.argv[1:])
    # Before and after the command there is nothing to clean up, so leave without a traceback.
    signal.signal(signal.SIGINT, _leave)
    run = _commands()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, _leave)


def _commands() -> Callable[[Sequence[str]], int]:
    from .commands import run

    return run


def _leave(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)
