"""Forks: a child of os.fork() has its parent's memory, but none of its parent's other threads.

In the child an inherited native thread pool waits for ever, and so does a lock that another thread held. So a fork
waits until no thread is inside an engine or a tokenizer, and in the child every holder of a pool or lock is asked to
make another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Protocol
from weakref import WeakSet

# Unless this is set, tokenizers prints a line on stderr at a fork and uses no more threads in the child.
_TOKENIZERS = "TOKENIZERS_PARALLELISM"


class Inherited(Protocol):
    """Holds a pool or a lock that a forked child must not use as its parent left it."""

    def forked(self) -> None:
        """Drop the parent's pools and locks. Called in the child before anything else runs there."""
        ...


class _Gate:
    """Threads enter and leave; a fork waits until all are out and keeps the gate closed."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._thread = threading.local()  # depth: how often this thread has entered
        self._inside = self._forks = 0
        self._hushed = False

    @contextmanager
    def entered(self) -> Iterator[None]:
        depth = getattr(self._thread, "depth", 0)
        with self._turn:
            # A thread that is already inside must not wait for a fork that waits for it.
            self._turn.wait_for(lambda: depth or not self._forks)
            self._inside += not depth
            self._thread.depth = depth + 1
        try:
            yield
        finally:
            with self._turn:
                self._thread.depth = depth
                self._inside -= not depth
                self._turn.notify_all()

    def close(self) -> None:
        """Wait until the other threads are out, and let none in until open()."""
        with self._turn:
            self._forks += 1
            here = getattr(self._thread, "depth", 0) > 0
            self._turn.wait_for(lambda: self._inside <= here)
            if self._forks == 1 and _TOKENIZERS not in os.environ:
                os.environ[_TOKENIZERS] = "false"
                self._hushed = True

    def open(self) -> None:
        with self._turn:
            self._forks -= 1
            if not self._forks and self._hushed:
                os.environ.pop(_TOKENIZERS, None)
                self._hushed = False
            self._turn.notify_all()


_gate = _Gate()
_holders: WeakSet[Inherited] = WeakSet()


def native() -> AbstractContextManager[None]:
    """Guard a block that runs native code with threads or locks: forks in other threads wait for its end."""
    _watch()
    return _gate.entered()


def tell(holder: Inherited) -> None:
    """Make every child that is forked while `holder` lives call holder.forked()."""
    _watch()
    _holders.add(holder)


@cache
def _watch() -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(
            before=lambda: _gate.close(), after_in_parent=lambda: _gate.open(), after_in_child=_begin_anew
        )


def _begin_anew() -> None:
    global _gate
    _gate = _Gate()
    for holder in list(_holders):
        holder.forked()
