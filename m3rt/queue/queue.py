"""The queue in front of an engine: many threads and event loops put requests in, threads of its own run the passes."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..batching.work import Work
from ..bundle.heads import Heads
from ..bundle.manifest import Manifest
from ..embeddings import Embeddings
from ..engines import Engine, Outputs
from ..errors import DeadlinePassed, EngineError, QueueFull
from ..host import forks
from ..values.shown import reason
from .load import Load
from .loops import Loops, fail
from .requests import Request, part
from .waiting import SHORT_TOKENS, Waiting

CAPACITY = 1 << 19  # tokens that may wait or run at a time
_LATE = "the request was not answered before its deadline; try again later"
_log = logging.getLogger("m3rt")


@dataclass(frozen=True, slots=True)
class Pass:
    """The figures of one forward pass, for whoever measures."""

    requests: int
    texts: int
    tokens: int
    padded: int  # tokens with padding
    seconds: float


class Queue:
    """Requests of many callers, merged into passes as long as the engine is busy; nothing waits for others to come.

    passes: that run side by side; long texts leave one of them to short ones that wait. batch_tokens: padded tokens of
    all passes that run at a time. capacity: the cost of all requests that are not answered yet. max_wait: seconds that
    the requests before one may take, at the speed of the last passes. What is over these bounds is taken all the same
    when nothing else waits. on_pass: called in a thread of the queue after each pass.
    """

    def __init__(
        self,
        engine: Engine,
        manifest: Manifest,
        *,
        batch_tokens: int,
        passes: int = 1,
        capacity: int = CAPACITY,
        max_wait: float = math.inf,
        on_pass: Callable[[Pass], object] = lambda done: None,
    ) -> None:
        self._engine, self._manifest, self._passes = engine, manifest, passes
        self._batch_tokens = max(1, batch_tokens // passes)
        self._capacity, self._max_wait, self._on_pass = capacity, max_wait, on_pass
        self.forked()
        forks.tell(self)

    def forked(self) -> None:
        """Begin anew: a forked child has no thread, and what its parent waits for is none of its business."""
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(self._passes, "m3rt-engine")  # they end when the queue is collected
        self._waiting: Waiting[Request] = Waiting(self._batch_tokens, self._engine.pass_tokens)
        self._open: set[Request] = set()
        self._cost = 0
        self._load = Load(self._engine.pass_tokens)
        self._running = self._long = 0  # passes, and those of them over long texts
        self._loops = Loops()

    @property
    def cost(self) -> int:
        """The cost of all requests that are not answered yet."""
        return self._cost

    @property
    def texts(self) -> int:
        """Texts that wait for a pass."""
        return len(self._waiting)

    def seconds(self) -> float:
        """How long the work that waits will take, at the speed of the last passes."""
        return self._load.seconds()

    def book(self, tokens: int) -> Callable[[], None]:
        """Room for a request of about so many tokens that is still to be read; calling what this returns gives it up.

        Raises QueueFull: a flood is refused before its requests are read and tokenized, which takes longer than that.
        """
        with self._lock:
            self._check_room(tokens, tokens)
            self._cost += tokens
            self._load.add(tokens)
        booked = [tokens]

        def give_up() -> None:
            with self._lock:
                if booked:
                    self._cost -= tokens
                    self._load.remove(booked.pop())

        return give_up

    def _check_room(self, cost: int, tokens: int) -> None:
        wait = self._load.seconds(tokens)
        if wait > self._max_wait:
            raise QueueFull(
                f"the requests before this one take {wait:.2g} s, expected at most {self._max_wait:g} s; try again "
                "later"
            )
        if self._cost and self._cost + cost > self._capacity:
            raise QueueFull(
                f"the queue is full: {self._cost} tokens wait and {cost} more were sent, expected at most "
                f"{self._capacity}; try again later"
            )

    def submit(self, work: Work, *, deadline: float | None = None, bounded: bool = True) -> Future[Embeddings]:
        """The embeddings of the texts, later. cancel() drops those that have not run. Raises QueueFull if bounded.

        deadline: of time.monotonic(). A request that has texts waiting later than that fails with DeadlinePassed, when
        one of them would run.
        """
        request = Request(work, deadline)
        if not len(work.tokens.truncated):
            request.add(self._manifest, *_nothing())
            return request.future
        with self._lock:
            if bounded:
                self._check_room(work.cost, len(work.tokens.ids))
            self._cost += work.cost
            self._load.add(len(work.tokens.ids))
            self._open.add(request)
            self._waiting.add(request, work.tokens.lengths.tolist())
            request.future.add_done_callback(lambda _: self._ended(request))
            for _ in range(min(self._passes - self._running, len(self._waiting))):
                self._running += 1
                self._threads.submit(self._run)
        return request.future

    async def encode(self, work: Work, *, deadline: float | None = None) -> Embeddings:
        """submit() for an event loop; a caller that is cancelled is dropped, and one whose deadline passes at once."""
        future = self.submit(work, deadline=deadline)
        if future.done():
            return future.result()
        waiter = self._loops.waiter(future)
        late = None
        if deadline is not None:
            late = waiter.get_loop().call_later(deadline - time.monotonic(), fail, waiter, DeadlinePassed(_LATE))
        try:
            return await waiter
        finally:
            future.cancel()
            if late is not None:
                late.cancel()

    def _ended(self, request: Request) -> None:
        """Called once, by whoever ends the request: a thread of the queue, or a caller that has gone."""
        with self._lock:
            if request in self._open:
                self._open.remove(request)
                self._cost -= request.work.cost
                self._load.remove(len(request.work.tokens.ids))
                self._waiting.drop(request)

    def _run(self) -> None:
        try:
            while taken := self._take():
                self._answer(taken)
        except BaseException as error:  # a fault of the queue's own: nobody may wait for ever
            with self._lock:
                self._running -= 1
                requests = list(self._open)
            for request in requests:
                request.fail(EngineError(f"the queue failed ({reason(error)}); send the request again"))
            raise
        finally:
            self._loops.wake()

    def _take(self) -> dict[Request, list[int]]:
        with self._lock:
            taken = self._waiting.take(short=0 < self._passes - 1 <= self._long)
            self._running -= not taken
            self._long += _is_long(taken)
        return taken

    def _answer(self, taken: dict[Request, list[int]]) -> None:
        try:
            now = time.monotonic()
            for request in [r for r in taken if r.deadline is not None and r.deadline < now]:
                request.fail(DeadlinePassed(_LATE))
            if live := {request: rows for request, rows in taken.items() if not request.future.done()}:
                self._pass(live)
        finally:
            with self._lock:
                self._long -= _is_long(taken)
        self._loops.wake()

    def _pass(self, taken: dict[Request, list[int]]) -> None:
        began = time.perf_counter()
        try:
            ids, mask = _joined(taken, self._manifest.special_tokens.pad)
            wanted = [request.work.heads for request in taken]
            heads = Heads(*(any(getattr(h, name) for h in wanted) for name in ("dense", "sparse", "colbert")))
            out = self._engine.run(ids, mask, heads)
        except Exception as error:
            for request in taken:
                request.fail(error)
            return
        start = 0
        for request, rows in taken.items():
            here = slice(start, start + len(rows))
            try:
                request.add(self._manifest, np.array(rows), mask[here], part(out, here, request.work.heads))
            except Exception as error:  # its own outputs are at fault
                request.fail(error)
            start = here.stop
        self._count(Pass(len(taken), len(mask), int(mask.sum()), mask.size, time.perf_counter() - began))

    def _count(self, done: Pass) -> None:
        with self._lock:
            self._load.passed(done.tokens, len(self._waiting) > 0)
        try:
            self._on_pass(done)
        except Exception:  # whoever measures must not stop the work
            _log.exception("on_pass failed")


def _is_long(taken: dict[Request, list[int]]) -> bool:
    return any(request.work.tokens.lengths[rows].max() > SHORT_TOKENS for request, rows in taken.items())


def _joined(taken: dict[Request, list[int]], pad: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids and mask (b, s) of rows of several requests, each request's together."""
    texts = [request.ids(row) for request, rows in taken.items() for row in rows]
    ids = np.full((len(texts), max(map(len, texts))), pad, np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask


def _nothing() -> tuple[NDArray[np.int64], NDArray[np.int64], Outputs]:
    return np.zeros(0, np.int64), np.zeros((0, 0), np.int64), Outputs(None, None, None)
