"""Batches of texts: equal in tokens, alike in length, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .lessons import Lessons
from .student import PAD

_BUCKET = 1.1  # lengths within this factor share a batch
_NEAR = (2, 12)  # ranks of neighbours that serve as hard negatives; the nearest are often right as well
_SAME = 0.95  # targets closer than this mean the same and are no negatives of each other


class Warmup(NamedTuple):
    """ids (b, s) int64 and the teacher's projected vectors (b, h) float32."""

    ids: Tensor
    target: Tensor


class Together(NamedTuple):
    """queries and passages (b, s) int64, row by row true pairs.

    same: (b, b) bool, passages as good as the query's own.
    """

    queries: Tensor
    passages: Tensor
    same: Tensor


def padded(rows: Sequence[NDArray[np.int32]]) -> Tensor:
    """Token ids of different lengths as one (b, s) int64 tensor."""
    ids = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for row, text in zip(ids, rows, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(ids)


class WarmupBatches:
    """Both sides of every pair with its target, drawn with equal chances for each token length's batches."""

    def __init__(self, lessons: Lessons, tokens: int, seed: int) -> None:
        self._lessons, self._tokens, self._seed = lessons, tokens, seed
        items = np.stack([lessons.pairs.ravel(), lessons.target.repeat(2)], axis=1)
        self._items = np.unique(items, axis=0)  # a text that is its own translation counts once
        self._lengths = np.diff(lessons.offsets)[self._items[:, 0]]
        self._drawn: list[NDArray[np.int64]] = []
        self._epochs = 0

    def epoch(self, number: int) -> list[NDArray[np.int64]]:
        """Rows of the items of each batch, every item once."""
        random = np.random.default_rng([self._seed, number])
        noisy = np.log(self._lengths) + random.uniform(0, np.log(_BUCKET), len(self._lengths))
        order = np.argsort(noisy)
        full = np.cumsum(self._lengths[order]) // self._tokens
        batches = np.split(order, np.flatnonzero(np.diff(full)) + 1)
        return [batches[i] for i in random.permutation(len(batches))]

    def numbered(self, step: int) -> Warmup:
        """Batch number `step`, counted through the epochs."""
        while len(self._drawn) <= step:
            self._drawn += self.epoch(self._epochs)
            self._epochs += 1
        return self.batch(self._drawn[step])

    def batch(self, rows: NDArray[np.int64]) -> Warmup:
        """The tensors of one batch."""
        items = self._items[rows]
        target = self._lessons.vectors[items[:, 1]].astype(np.float32)
        return Warmup(padded([self._lessons.text(i) for i in items[:, 0]]), torch.from_numpy(target))


class TogetherBatches:
    """Queries with their passages, `group` by group near neighbours, which are each other's hard negatives.

    Batches have about `tokens` tokens of passages and at most `most` pairs.
    """

    def __init__(self, lessons: Lessons, tokens: int, seed: int, *, group: int = 4, most: int = 192) -> None:
        self._lessons, self._tokens, self._seed, self._group, self._most = lessons, tokens, seed, group, most
        self._space = lessons.vectors[lessons.target].astype(np.float32)
        self._first_passage = len(lessons.pairs) - lessons.passages

    def batch(self, step: int) -> Together:
        """Batch number `step`: of three, two ask for passages by a sentence of theirs and one for translations."""
        random = np.random.default_rng([self._seed, step])
        passages = step % 3 != 2
        low, high = (self._first_passage, len(self._space)) if passages else (0, self._first_passage)
        # Alike in length, so that little is padding.
        pool = low + random.choice(high - low, min(high - low, 20_000), replace=False)
        lengths = np.diff(self._lessons.offsets)[self._lessons.pairs[pool]].max(axis=1)
        middle = lengths[random.integers(len(pool))]
        pool = pool[(lengths <= middle * 1.15) & (lengths >= middle / 1.15)]
        wanted = int(np.clip(self._tokens // middle, 8, self._most))
        rows = self._with_neighbours(pool, wanted, random)
        pairs = [self._pair(row, passages, random) for row in rows]
        space = self._space[rows]
        same = torch.from_numpy((space @ space.T > _SAME) & ~np.eye(len(rows), dtype=bool))
        return Together(padded([q for q, _ in pairs]), padded([p for _, p in pairs]), same)

    def _with_neighbours(self, pool: NDArray[np.int64], wanted: int, random: np.random.Generator) -> list[int]:
        if self._group == 1:
            return [int(i) for i in random.permutation(pool)[:wanted]]
        seeds = pool[random.permutation(len(pool))[: max(1, wanted // self._group)]]
        ranks = np.argsort(-(self._space[seeds] @ self._space[pool].T), axis=1)[:, _NEAR[0] : _NEAR[1]]
        near = [pool[random.permutation(row)[: self._group - 1]] for row in ranks]
        return list(dict.fromkeys(int(i) for i in np.concatenate([seeds, *near])))

    def _pair(
        self, row: int, passage: bool, random: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        lessons = self._lessons
        first, second = random.permutation(lessons.pairs[row])
        if passage:
            members = lessons.members[row - self._first_passage]
            first = members[random.integers(len(members)), random.integers(2)]
        return thinned(lessons.text(first), random), lessons.text(second)


def thinned(ids: NDArray[np.int32], random: np.random.Generator) -> NDArray[np.int32]:
    """A text as a query: a span of its tokens, some of them missing, still between <s> and </s>."""
    inner = ids[1:-1]
    length = max(min(3, len(inner)), round(len(inner) * random.uniform(0.4, 1.0)))
    start = random.integers(len(inner) - length + 1)
    span = inner[start : start + length]
    kept = span[random.random(len(span)) >= random.uniform(0, 0.3)]
    return np.concatenate([ids[:1], kept if len(kept) else span, ids[-1:]])
