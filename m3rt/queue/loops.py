"""Event loops that wait for futures of the queue's thread: each is woken once for all that a pass completed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from ..embeddings import Embeddings

Waiter = asyncio.Future[Embeddings]
_Pair = tuple[Waiter, Future[Embeddings]]


class Loops:
    """Does what asyncio.wrap_future() does for many futures at a time: that would wake the loop for each of them."""

    def __init__(self) -> None:
        self._done: deque[_Pair] = deque()

    def waiter(self, future: Future[Embeddings]) -> Waiter:
        """Return a future that is done once `future` is and wake() was called; never, if `future` is cancelled."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        future.add_done_callback(partial(self._ended, waiter))
        if future.done():  # perhaps after the last wake()
            self.wake()
        return waiter

    def _ended(self, waiter: Waiter, future: Future[Embeddings]) -> None:
        if not future.cancelled():
            self._done.append((waiter, future))

    def wake(self) -> None:
        """Hand over what is done. Called by the thread that completes futures, once it has completed some."""
        by_loop: dict[asyncio.AbstractEventLoop, list[_Pair]] = {}
        with suppress(IndexError):
            while True:
                pair = self._done.popleft()  # safe beside another thread that does the same
                by_loop.setdefault(pair[0].get_loop(), []).append(pair)
        for loop, pairs in by_loop.items():
            try:
                loop.call_soon_threadsafe(_hand_over, pairs)
            except RuntimeError:  # the loop was closed, and with it went whoever waited
                continue


def fail(waiter: Waiter, error: Exception) -> None:
    """End a waiter that still waits."""
    if not waiter.done():
        waiter.set_exception(error)


def _hand_over(pairs: Iterable[_Pair]) -> None:
    for waiter, future in pairs:
        if waiter.done():
            continue
        error = future.exception()
        if error is None:
            waiter.set_result(future.result())
        else:
            waiter.set_exception(error)
