"""What the server can do, whatever the dialect: embed, rerank, tokenize, search."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar

import m3rt_kernels

from ..batching.work import VectorFormat, Work
from ..bundle.heads import Heads
from ..bundle.prompts import prompted
from ..embeddings import Embeddings
from ..encoder import M3Encoder
from ..errors import DeadlinePassed, EngineError, InputError, M3rtError
from ..index import HybridIndex
from ..queue import Pass, Queue
from ..reranker import M3Reranker
from ..text.tokenizer import TokenIds
from ..values.arguments import choice_of, whole_number
from ..values.shown import reason
from .bodies import Held
from .limits import Limits
from .pairs import PairQueue
from .refusals import Missing, TooLarge
from .trace import Trace
from .turns import Turns

R = TypeVar("R")
Cut = Literal["end", "refuse", "start"]

_INLINE_CHARACTERS = 4096  # tokenized faster than another thread takes over
_BODIES_AT_ONCE = 4  # of the largest size
_READY_SECONDS = 5.0  # in which a real inference must be done
_READY_KEPT_SECONDS = 1.0  # for which its success is taken for granted


class Service:
    """One encoder with its queue, a reranker if there is one, and indexes by name. passes: of the encoder at a time."""

    def __init__(
        self,
        encoder: M3Encoder,
        *,
        reranker: M3Reranker | None = None,
        indexes: Mapping[str, HybridIndex] | None = None,
        limits: Limits | None = None,
        passes: int = 1,
        on_pass: Callable[[Pass], object] = lambda done: None,
    ) -> None:
        self.encoder = encoder
        self.limits = limits or Limits()
        self.held = Held(_BODIES_AT_ONCE * self.limits.body_bytes)
        self.queue = Queue(
            encoder.engine,
            encoder.manifest,
            batch_tokens=encoder.batch_tokens,
            passes=passes,
            capacity=self.limits.queue_tokens,
            max_wait=self.limits.seconds if self.limits.wait_seconds is None else self.limits.wait_seconds,
            on_pass=on_pass,
        )
        turns = Turns(encoder, self.queue)
        self.indexes = {name: HybridIndex(index.path, turns) for name, index in (indexes or {}).items()}
        self.name = encoder.manifest.source.id
        self.pairs = None if reranker is None else PairQueue(reranker, self.limits)
        self._searchers = ThreadPoolExecutor(4, "m3rt-search")
        self._writers = ThreadPoolExecutor(1, "m3rt-index")  # one commit at a time, as an index has it
        self._warm, self._ready = False, -_READY_KEPT_SECONDS

    async def embed(
        self,
        texts: list[str],
        heads: Heads,
        trace: Trace,
        *,
        dim: int | None = None,
        max_length: int | None = None,
        cut: Cut | None = None,
        role: str | None = None,
    ) -> Embeddings:
        """The embeddings of texts. cut: where a text that is too long loses tokens, or that it is refused.

        dim: components kept of each vector. role: "query" or "passage", whose prompt goes before each text.
        Raises TooLarge, InputError, QueueFull, DeadlinePassed or EngineError.
        """
        deadline = time.monotonic() + self.limits.seconds
        self.limits.check(texts)
        if dim is not None:
            dim = whole_number("dimensions", dim, 1, self.encoder.manifest.dim)
        if (heads.sparse or heads.colbert) and not self.encoder.manifest.heads.sparse:
            raise InputError(f"{self.name} has dense vectors only, no lexical weights and no ColBERT vectors")
        if role is not None:
            texts = prompted(self.encoder.manifest.prompts, choice_of("prompt", role, ("query", "passage")), texts)
        with trace.stage("tokenize"):
            work = await self._prepared(texts, heads, max_length)
        _check_cut("text", work.tokens, cut)
        trace.texts += len(texts)
        trace.tokens += len(work.tokens.ids)
        trace.truncated += int(work.tokens.truncated.sum())
        if work.cost > self.limits.queue_tokens:
            raise TooLarge(
                f"the request costs {work.cost} tokens, expected at most {self.limits.queue_tokens}; send it in parts"
            )
        trace.give_up()
        with trace.stage("embed"):
            return await self.queue.encode(replace(work, format=VectorFormat(dim)), deadline=deadline)

    async def rerank(
        self,
        query: str,
        documents: list[str],
        trace: Trace,
        *,
        normalize: bool,
        cut: Cut | None = None,
        passage_tokens: int | None = None,
    ) -> list[float]:
        """The score of each document; normalize: by a sigmoid, between 0 and 1. cut: as embed()'s.

        passage_tokens: those kept of each document. Raises Missing without a reranker, TooLarge, InputError, QueueFull,
        DeadlinePassed, EngineError.
        """
        deadline = time.monotonic() + self.limits.seconds
        if self.pairs is None:
            raise Missing("this server has no reranker; start it with m3rt serve --reranker BUNDLE", 400)
        self.limits.check([query, *documents])
        pairs = [(query, document) for document in documents]
        with trace.stage("tokenize"):
            ids, options = await self.pairs.prepare(pairs, passage_tokens)
        _check_cut("pair", ids.tokens, cut)
        trace.texts += len(documents)
        trace.tokens += len(ids.tokens.ids)
        trace.truncated += int(ids.tokens.truncated.sum())
        with trace.stage("rerank"):
            return await self.pairs.scores(pairs, ids, options, normalize=normalize, deadline=deadline)

    async def search(self, function: Callable[[], R]) -> R:
        """Run a function of an index in a thread for searches. Raises DeadlinePassed."""
        return await self._in(self._searchers, function)

    async def write(self, function: Callable[[], R]) -> R:
        """Run a function that changes an index in the thread for that. Raises DeadlinePassed: see its message."""
        return await self._in(self._writers, function, "; what has begun may still be written")

    async def _in(self, threads: ThreadPoolExecutor, function: Callable[[], R], begun: str = "") -> R:
        future = threads.submit(function)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            note = "" if future.cancelled() else begun
            raise DeadlinePassed(f"the index did not answer within {self.limits.seconds:g} s{note}") from None

    def index(self, name: str | None) -> HybridIndex:
        """The index of that name, or the only one. Raises Missing, or InputError where a name is needed."""
        if name is None and len(self.indexes) == 1:
            return next(iter(self.indexes.values()))
        known = ", ".join(self.indexes) or "none; start the server with m3rt serve --index DIR"
        if name is None:
            raise InputError(f"index is missing, expected one of: {known}")
        if name not in self.indexes:
            raise Missing(f"index is {name!r:.60}, expected one of: {known}")
        return self.indexes[name]

    async def warm(self) -> None:
        """Compute every view once, so that the first caller waits for no compiler. Raises EngineError.

        Once is enough: what was warmed stays so.
        """
        if self._warm:
            return
        sparse = self.encoder.manifest.heads.sparse
        try:
            await self.queue.encode(await self._prepared(["ready?"], Heads(True, sparse, sparse), None))
            if self.indexes:
                await asyncio.to_thread(m3rt_kernels.warm)
        except M3rtError:
            raise
        except Exception as error:  # of a compiler, for one
            raise EngineError(f"the first inference failed: {reason(error)}") from error
        self._warm, self._ready = True, time.monotonic()

    async def check_ready(self) -> None:
        """Return after a real inference, or a moment after the last one. Raises DeadlinePassed or EngineError."""
        if time.monotonic() - self._ready > _READY_KEPT_SECONDS:
            work = await self._prepared(["ready?"], Heads(), None)
            await self.queue.encode(work, deadline=time.monotonic() + _READY_SECONDS)
            self._ready = time.monotonic()

    async def _prepared(self, texts: list[str], heads: Heads, max_length: int | None) -> Work:
        prepare = partial(self.encoder.prepare, texts, **heads.keywords(), max_length=max_length)
        if sum(map(len, texts)) <= _INLINE_CHARACTERS:
            return prepare()
        return await asyncio.to_thread(prepare)


def _check_cut(name: str, tokens: TokenIds, cut: Cut | None) -> None:
    cut_texts = tokens.truncated.nonzero()[0]
    if not len(cut_texts) or cut in (None, "end"):
        return
    if cut == "start":
        raise InputError(
            f"{name} {cut_texts[0]} is too long, and only its end can be cut off; cut it before it is sent"
        )
    raise InputError(
        f"{name} {cut_texts[0]} has more tokens than the {max(tokens.lengths)} of the limit; shorten it, or allow "
        "it to be truncated"
    )
