"""Forks: a child of os.fork() has its parent's memory and none of the other threads.

A native thread pool that it inherits waits for ever, as does a lock that another thread held. So a fork waits until no
thread is inside an engine or a tokenizer, and in the child whoever holds a pool or a lock is told to make another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Protocol
from weakref import WeakSet

# Unless this is set, tokenizers says a line on stderr at a fork, and in the child uses threads no more.
_TOKENIZERS = "TOKENIZERS_PARALLELISM"


class Inherited(Protocol):
    """What a forked child must not use as its parent left it."""

    def forked(self) -> None:
        """Called in the child, before anything else runs there."""
        ...


class _Gate:
    """Threads go in and out; a fork closes it when all are out."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._own = threading.local()  # how often this thread is inside
        self._inside = self._forks = 0
        self._hushed = False

    @contextmanager
    def entered(self) -> Iterator[None]:
        depth = getattr(self._own, "depth", 0)
        with self._turn:
            # A thread that is inside already must not wait for a fork that waits for it.
            self._turn.wait_for(lambda: depth or not self._forks)
            self._inside += not depth
            self._own.depth = depth + 1
        try:
            yield
        finally:
            with self._turn:
                self._own.depth = depth
                self._inside -= not depth
                self._turn.notify_all()

    def close(self) -> None:
        """Wait until the other threads are out, and let none in."""
        with self._turn:
            self._forks += 1
            own = getattr(self._own, "depth", 0) > 0
            self._turn.wait_for(lambda: self._inside <= own)
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
    """Run code that has threads or locks of its own in this block: forks of other threads wait for its end."""
    _watch()
    return _gate.entered()


def tell(holder: Inherited) -> None:
    """Call holder.forked() in every child that is forked while `holder` lives."""
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
