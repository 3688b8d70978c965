"""Batches of texts: nearly equal in tokens, alike in length, and the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..constants import BATCHES
from ..data.lessons import Lessons
from ..student.model import PAD


class TeacherBatch(NamedTuple):
    """ids (b, s) int64 of texts, and target (b, components) float32, the teacher's projected vectors of them."""

    ids: Tensor
    target: Tensor


class SearchBatch(NamedTuple):
    """queries and passages (b, s) int64, which are true pairs row by row.

    duplicates: (b, b) bool, passages that are as good an answer as the query's true one.
    """

    queries: Tensor
    passages: Tensor
    duplicates: Tensor


def pad(texts: Sequence[NDArray[np.int32]]) -> Tensor:
    """Return token ids of different lengths as one (b, s) int64 tensor."""
    ids = np.full((len(texts), max(map(len, texts))), PAD, np.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(ids)


class TeacherBatches:
    """Texts with the teacher's vectors: both sides of every pair once in an epoch, its batches in random order."""

    def __init__(self, lessons: Lessons, tokens: int, seed: int) -> None:
        self._lessons, self._tokens, self._seed = lessons, tokens, seed
        items = np.stack([lessons.pairs.ravel(), lessons.target.repeat(2)], axis=1)
        self._items = np.unique(items, axis=0)  # a text that is paired with itself counts once
        self._lengths = np.diff(lessons.offsets)[self._items[:, 0]]
        self._drawn: list[NDArray[np.int64]] = []
        self._epochs = 0

    def epoch(self, number: int) -> list[NDArray[np.int64]]:
        """Return the numbers of the items in each batch of an epoch; every item is in one."""
        random = np.random.default_rng([self._seed, number])
        noisy = np.log(self._lengths) + random.uniform(0, np.log(BATCHES.length_noise_factor), len(self._lengths))
        order = np.argsort(noisy)
        full = np.cumsum(self._lengths[order]) // self._tokens
        batches = np.split(order, np.flatnonzero(np.diff(full)) + 1)
        return [batches[i] for i in random.permutation(len(batches))]

    def numbered(self, step: int) -> TeacherBatch:
        """Return batch number `step`, counted through the epochs."""
        while len(self._drawn) <= step:
            self._drawn += self.epoch(self._epochs)
            self._epochs += 1
        return self.batch(self._drawn[step])

    def batch(self, numbers: NDArray[np.int64]) -> TeacherBatch:
        """Return the batch of these items."""
        items = self._items[numbers]
        target = self._lessons.vectors[items[:, 1]].astype(np.float32)
        return TeacherBatch(pad([self._lessons.text(i) for i in items[:, 0]]), torch.from_numpy(target))


class SearchBatches:
    """Queries with their passages, in groups of near neighbours, which are each other's hard negatives.

    Batches have about `tokens` tokens of passages, at most `max_pairs` pairs, and `per_group` pairs in a group.
    """

    def __init__(
        self, lessons: Lessons, tokens: int, seed: int, *,
        per_group: int = BATCHES.pairs_per_group, max_pairs: int = BATCHES.max_pairs,
    ) -> None:  # fmt: skip
        self._lessons, self._tokens, self._seed = lessons, tokens, seed
        self._per_group, self._max_pairs = per_group, max_pairs
        self._targets = lessons.vectors[lessons.target].astype(np.float32)  # (pairs, components)
        self._first_passage = len(lessons.pairs) - lessons.passages

    def batch(self, step: int) -> SearchBatch:
        """Return batch number `step`: two of three ask for passages by a sentence of theirs, one for translations."""
        random = np.random.default_rng([self._seed, step])
        passages = step % 3 != 2
        low, high = (self._first_passage, len(self._targets)) if passages else (0, self._first_passage)
        # Texts of a batch are alike in length, so that there is little padding.
        pool = low + random.choice(high - low, min(high - low, BATCHES.pool_pairs), replace=False)
        lengths = np.diff(self._lessons.offsets)[self._lessons.pairs[pool]].max(axis=1)
        middle = lengths[random.integers(len(pool))]
        factor = BATCHES.pool_length_factor
        pool = pool[(lengths <= middle * factor) & (lengths >= middle / factor)]
        count = int(np.clip(self._tokens // middle, BATCHES.min_pairs, self._max_pairs))
        rows = self._with_neighbours(pool, count, random)
        pairs = [self._pair(row, passages, random) for row in rows]
        targets = self._targets[rows]
        duplicates = (targets @ targets.T > BATCHES.duplicate_cosine) & ~np.eye(len(rows), dtype=bool)
        return SearchBatch(pad([q for q, _ in pairs]), pad([p for _, p in pairs]), torch.from_numpy(duplicates))

    def _with_neighbours(self, pool: NDArray[np.int64], count: int, random: np.random.Generator) -> list[int]:
        """Draw about `count` pairs of the pool: seeds, and for each the rest of its group from its near neighbours."""
        if self._per_group == 1:
            return [int(i) for i in random.permutation(pool)[:count]]
        seeds = pool[random.permutation(len(pool))[: max(1, count // self._per_group)]]
        nearest = np.argsort(-(self._targets[seeds] @ self._targets[pool].T), axis=1)
        ranks = nearest[:, slice(*BATCHES.hard_negative_ranks)]
        near = [pool[random.permutation(row)[: self._per_group - 1]] for row in ranks]
        return list(dict.fromkeys(int(i) for i in np.concatenate([seeds, *near])))

    def _pair(
        self, row: int, passage: bool, random: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        lessons = self._lessons
        first, second = random.permutation(lessons.pairs[row])
        if passage:
            members = lessons.members[row - self._first_passage]
            first = members[random.integers(len(members)), random.integers(2)]
        return thin(lessons.text(first), random), lessons.text(second)


def thin(ids: NDArray[np.int32], random: np.random.Generator) -> NDArray[np.int32]:
    """Make a query of a text: a span of its tokens without some of them, still between <s> and </s>."""
    inner = ids[1:-1]
    share = random.uniform(*BATCHES.query_span_share)
    length = max(min(BATCHES.query_min_tokens, len(inner)), round(len(inner) * share))
    start = random.integers(len(inner) - length + 1)
    span = inner[start : start + length]
    kept = span[random.random(len(span)) >= random.uniform(0, BATCHES.query_max_dropped_share)]
    return np.concatenate([ids[:1], kept if len(kept) else span, ids[-1:]])
