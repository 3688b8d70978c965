"""Many clients that cost little, so that a load of hundreds of them measures the server and not its clients.

Each is one connection with prebuilt requests and no task of its own. It sends the next text when it has an answer; one
that was refused waits first, as long as the answer's retry-after says and up to half as long again, as clients spread
their retries.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

from m3rt.tuning.load import Answer, Target

_SIZE = re.compile(rb"\r\ncontent-length: (\d+)")
_AGAIN = re.compile(rb"\r\nretry-after: (\d+)")
_SPREAD = 0.5


@dataclass(frozen=True, slots=True)
class Flood:
    """seconds: what it lasted; cpu_seconds: what the clients used of it."""

    answers: list[Answer]
    seconds: float
    cpu_seconds: float


def flood(port: int, texts: Sequence[str], clients: int, seconds: float) -> Flood:
    """Clients that all connect first and then ask for so many seconds."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_flood(port, texts, clients, seconds))


async def _flood(port: int, texts: Sequence[str], clients: int, seconds: float) -> Flood:
    loop, target = asyncio.get_running_loop(), Target(f"http://127.0.0.1:{port}")
    order, answers = itertools.cycle(enumerate(map(target.request, texts))), list[Answer]()
    everyone = [
        (await loop.create_connection(lambda: _Client(order, answers, seconds), "127.0.0.1", port))[1]
        for _ in range(clients)
    ]
    began, cpu = time.perf_counter(), time.process_time()
    for client in everyone:
        loop.call_later(random.uniform(0, min(1.0, seconds / 4)), client.begin, began)
    await asyncio.gather(*(client.done for client in everyone))
    return Flood(answers, time.perf_counter() - began, time.process_time() - cpu)


class _Client(asyncio.Protocol):
    def __init__(self, order: Iterator[tuple[int, bytes]], answers: list[Answer], seconds: float) -> None:
        self._order, self._answers, self._seconds = order, answers, seconds
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._came = b""
        self._text, self._sent, self._began = 0, 0.0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():  # a connection that the server closed
            self._answers.append(Answer(self._text, 0, self._now() - self._sent, self._now(), 0))
            self.done.set_result(None)

    def begin(self, began: float) -> None:
        self._began = began
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, body = self._came.partition(b"\r\n\r\n")
        size = _SIZE.search(head)
        if not (found and size and len(body) >= int(size[1])):
            return
        self._came, now, status = b"", self._now(), int(head[9:12])
        self._answers.append(Answer(self._text, status, now - self._sent, now, 0))
        again = _AGAIN.search(head)
        if status == 200 or not again:
            self._ask()
        else:
            self._loop.call_later(int(again[1]) * (1 + random.uniform(0, _SPREAD)), self._ask)

    def _now(self) -> float:
        return time.perf_counter() - self._began

    def _ask(self) -> None:
        self._sent = self._now()
        if self._sent >= self._seconds:
            self.done.set_result(None)
            self._transport.close()
            return
        self._text, request = next(self._order)
        self._transport.write(request)
