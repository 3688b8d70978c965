"""Calls side by side whose results come in order: one pass runs on a card while the results of another are copied."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(call: Callable[[T], R], items: Iterable[T], count: int) -> Generator[R]:
    """Yield call(item) of each item in order, with up to `count` calls at a time; one at a time needs no thread.

    An error, of a call or of `items` itself, comes in its item's place. Calls that have begun are waited for when the
    iterator is closed.
    """
    if count == 1:
        yield from map(call, items)
        return
    with ThreadPoolExecutor(count, "m3rt-ahead") as pool:
        begun: deque[Future[R]] = deque()
        try:
            source, failure = iter(items), None
            while True:
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                begun.append(pool.submit(call, item))
                if len(begun) == count:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
            if failure is not None:
                raise failure
        finally:
            for future in begun:
                future.cancel()
