"""Pairs of many requests on their way through one reranker: bounded by tokens, in passes that take turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeadlinePassed, QueueFull
from ..reranker import M3Reranker
from ..text.pairs import PairIds
from .limits import Limits
from .refusals import TooLarge


class PairQueue:
    """Scores for requests that wait together: of at most limits.queue_tokens tokens, each for limits.seconds.

    A request runs in parts of the reranker's batch_tokens, between which other requests get their turns.
    """

    def __init__(self, reranker: M3Reranker, limits: Limits) -> None:
        self._reranker, self._limits = reranker, limits
        self._thread = ThreadPoolExecutor(1, "m3rt-reranker")
        self.cost = 0  # tokens of requests that are not answered yet

    async def prepare(self, pairs: list[tuple[str, str]], passage_tokens: int | None) -> tuple[PairIds, dict[str, Any]]:
        """The tokens of pairs as they are scored, and the options that cut them so.

        passage_tokens: those kept of each passage, by default as many as fit. Raises QueueFull before it tokenizes.
        """
        self._check_room(1)
        return await asyncio.to_thread(self._prepare, pairs, passage_tokens)

    async def scores(
        self, pairs: list[tuple[str, str]], ids: PairIds, options: dict[str, Any], *, normalize: bool, deadline: float
    ) -> list[float]:
        """The score of each pair; deadline: of time.monotonic().

        Raises TooLarge, QueueFull, DeadlinePassed and EngineError.
        """
        cost, most = len(ids.tokens.ids), self._limits.queue_tokens
        if cost > most:
            raise TooLarge(f"the pairs have {cost} tokens, expected at most {most}; send them in parts")
        self._check_room(cost)
        self.cost += cost
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                score = partial(self._reranker.compute_score, normalize=normalize, **options)
                return await self._passes(pairs, ids, score)
        except TimeoutError:
            seconds = self._limits.seconds
            raise DeadlinePassed(f"the pairs were not scored within {seconds:g} s; try again later") from None
        finally:
            self.cost -= cost

    def _check_room(self, cost: int) -> None:
        most = self._limits.queue_tokens
        if self.cost + cost > most:
            raise QueueFull(
                f"{self.cost} tokens of pairs wait and {cost} more were sent, expected at most {most}; try again later"
            )

    async def _passes(self, pairs: list[tuple[str, str]], ids: PairIds, score: Any) -> list[float]:
        loop, found = asyncio.get_running_loop(), []
        for rows in _parts(ids.tokens.lengths, self._reranker.batch_tokens):
            found += list(await loop.run_in_executor(self._thread, score, pairs[rows]))
        return [float(value) for value in found]

    def _prepare(self, pairs: list[tuple[str, str]], passage_tokens: int | None) -> tuple[PairIds, dict[str, Any]]:
        options: dict[str, Any] = {}
        if passage_tokens is not None:
            query = pairs[0][0]  # which all of them have
            alone, nothing = self._reranker.prepare([(query, ""), ("", "")]).tokens.lengths.tolist()
            if alone + passage_tokens < self._reranker.manifest.max_tokens:
                options = {"max_length": alone + passage_tokens, "query_max_length": max(1, alone - nothing)}
        return self._reranker.prepare(pairs, **options), options


def _parts(lengths: NDArray[np.int64], budget: int) -> Iterator[slice]:
    """Slices of the rows whose tokens are within the budget, or single rows."""
    start = tokens = 0
    for row, length in enumerate(lengths.tolist()):
        if tokens and tokens + length > budget:
            yield slice(start, row)
            start, tokens = row, 0
        tokens += length
    yield slice(start, len(lengths))
