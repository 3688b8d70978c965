"""Ranges of work on threads: kernels release the GIL, so plain threads are enough and numba's layers are not needed.

Nor can those be used: `workqueue` aborts the process when two threads enter it, `omp` when the process has forked, and
`tbb` is seldom installed.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from itertools import pairwise

from .cpus import affinity, quota


def thread_count(threads: int | None) -> int:
    """Return `threads`, or the CPUs granted for None. Raises ValueError when it is not an integer of at least 1."""
    if threads is None:
        return max(1, math.ceil(min(affinity(), _quota())))
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads is {threads!r}, expected an integer of at least 1, or None for the CPUs granted")
    return threads


def split(total: int, parts: int) -> list[int]:
    """Return the bounds of at most `parts` nearly equal ranges of range(total): [0, ..., total]."""
    parts = max(1, min(parts, total))
    return [total * i // parts for i in range(parts + 1)]


def run_ranges(work: Callable[[int, int], object], bounds: Sequence[int], threads: int) -> None:
    """Call work(begin, end) once for each pair of neighbours in `bounds`, on the caller and up to threads - 1 others.

    A thread takes the next range when it has finished one, so ranges of unequal cost balance. Any number of Python
    threads may call at once: each works on its own ranges, helped while the pool is idle, and never waits in a queue.
    Returns when all ranges are done; the first exception of `work` is raised, and ranges not begun are left out.
    """
    ranges = iter(list(pairwise(bounds)))
    lock = threading.Lock()

    def take() -> None:
        while True:
            with lock:
                bounds_of_range = next(ranges, None)
            if bounds_of_range is None:
                return
            try:
                work(*bounds_of_range)
            except BaseException:
                with lock:
                    for _ in ranges:
                        pass
                raise

    helpers = []
    with suppress(RuntimeError):  # the interpreter is shutting down: the caller does all the work
        helpers = [_pool().submit(take) for _ in range(min(threads, len(bounds) - 1) - 1)]
    try:
        take()
    finally:
        begun = [helper for helper in helpers if not helper.cancel()]
        wait(begun)
    for helper in begun:
        helper.result()


@cache
def _pool() -> ThreadPoolExecutor:
    if hasattr(os, "register_at_fork"):  # a forked child has the pool but not its threads
        os.register_at_fork(after_in_child=_pool.cache_clear)
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="m3rt-kernels")


@cache
def _quota() -> float:
    return quota()  # read once: it takes longer than a small kernel
