"""Load on a server of OpenAI's embeddings route: many clients at once, and the time that each answer took."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import InputError

_PAUSE_SECONDS = 1.0  # of a client that was refused, the least that a server asks for
_TIMEOUT_SECONDS = 300.0
_HEAD_BYTES = 1 << 16
_SIZE = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb'"prompt_tokens": ?(\d+)')
QUANTILES = (50, 95, 99)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Answer:
    """status: 0 for a connection that failed. seconds: of the answer; end: when it came, since the load began."""

    text: int  # its number among the texts
    status: int
    seconds: float
    end: float
    tokens: int  # as the server counts them


class Target:
    """Where to send requests: the root of a server, http or https. Raises InputError for another address."""

    def __init__(self, url: str, key: str | None = None) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InputError(f"the server is {url!r:.80} ({error}), expected http://HOST:PORT") from None
        if parts.scheme not in ("http", "https") or not host:
            raise InputError(f"the server is {url!r:.80}, expected http://HOST:PORT")
        self.url, self._host = url, host
        self._port = port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._head = (
            f"POST {parts.path.rstrip('/')}/v1/embeddings HTTP/1.1\r\nhost: {parts.netloc}\r\n"
            f"content-type: application/json\r\n{f'authorization: Bearer {key}' + chr(13) + chr(10) if key else ''}"
        )

    def request(self, text: str) -> bytes:
        body = json.dumps({"input": text, "model": "m", "encoding_format": "base64"}).encode()
        return f"{self._head}content-length: {len(body)}\r\n\r\n".encode() + body

    async def connect(self) -> Connection:
        return await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=_HEAD_BYTES)


async def closed_loop(target: Target, texts: Sequence[str], clients: int, seconds: float) -> list[Answer]:
    """Clients that each send the next text when they have an answer, and pause when they were refused."""
    load, order = _Load(target, texts), itertools.count()

    async def client() -> None:
        async with load.connection() as connection:
            while load.elapsed() < seconds:
                if await load.ask(connection, next(order) % len(texts)) != 200:
                    await asyncio.sleep(_PAUSE_SECONDS)

    await asyncio.gather(*(client() for _ in range(clients)))
    await load.close()
    return load.answers


async def open_loop(
    target: Target, texts: Sequence[str], rate: float, seconds: float, *, seed: int = 0
) -> list[Answer]:
    """Requests that come at random, so many a second on average, however long the server takes for those before.

    Their seconds count from when they were due, so that a server that stalls answers for all that it held up.
    """
    load, draw, due, asks = _Load(target, texts), random.Random(seed), 0.0, []
    for i in itertools.count():
        due += draw.expovariate(rate)
        if due >= seconds:
            break
        await asyncio.sleep(max(0.0, due - load.elapsed()))
        asks.append(asyncio.create_task(load.ask_at(i % len(texts), due)))
    await asyncio.gather(*asks)
    await load.close()
    return load.answers


class _Load:
    """One load, with the connections that wait for a request."""

    def __init__(self, target: Target, texts: Sequence[str]) -> None:
        self._target, self._requests = target, [target.request(text) for text in texts]
        self._idle: list[Connection | None] = []
        self._began = time.perf_counter()
        self.answers: list[Answer] = []

    def elapsed(self) -> float:
        return time.perf_counter() - self._began

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[list[Connection | None]]:
        """A place for a connection; it is empty until the first request, and after a failure."""
        place: list[Connection | None] = [self._idle.pop() if self._idle else None]
        try:
            yield place
        finally:
            self._idle.append(place[0])

    async def close(self) -> None:
        for connection in self._idle:
            await _close(connection)

    async def ask_at(self, text: int, due: float) -> None:
        async with self.connection() as place:
            await self.ask(place, text, due)

    async def ask(self, place: list[Connection | None], text: int, due: float | None = None) -> int:
        """Send a text and keep its answer; returns the status."""
        start = self.elapsed() if due is None else due
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                place[0] = connection = place[0] or await self._target.connect()
                status, tokens = await _exchange(connection, self._requests[text])
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            await _close(place[0])
            place[0], status, tokens = None, 0, 0
        self.answers.append(Answer(text, status, self.elapsed() - start, self.elapsed(), tokens))
        return status


async def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection[1].close()
        with suppress(OSError):
            await connection[1].wait_closed()


async def _exchange(connection: Connection, request: bytes) -> tuple[int, int]:
    reader, writer = connection
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    size = _SIZE.search(head)
    if size is None:
        raise ValueError("an answer without its length")
    body = await reader.readexactly(int(size[1]))
    tokens = _TOKENS.search(body)
    return int(head.split(b" ", 2)[1]), int(tokens[1]) if tokens else 0


def summary(answers: Sequence[Answer]) -> dict[str, float | int | None]:
    """Quantiles of the answered in ms, what was answered a second, and how many were refused or failed."""
    good = sorted(answer.seconds for answer in answers if answer.status == 200)
    seconds = max((answer.end for answer in answers), default=0.0)
    refused = sorted(answer.seconds for answer in answers if answer.status == 429)
    return {
        "answered": len(good),
        **{f"p{q}_ms": quantile(good, q) for q in QUANTILES},
        "requests_per_s": len(good) / seconds if seconds else None,
        "tokens_per_s": sum(a.tokens for a in answers if a.status == 200) / seconds if seconds else None,
        "refused": len(refused),
        "refused_p50_ms": quantile(refused, 50),
        "errors": sum(answer.status not in (200, 429) for answer in answers),
    }


def quantile(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest of the sorted seconds that so many percent do not exceed, in ms; None of nothing."""
    return 1e3 * ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else None
