"""Texts that wait for a pass, and which of them run next: a data structure without threads and without a clock."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

# Texts count as short beside the shortest one that waits: up to so many tokens, or so many times its own.
SHORT_TOKENS, _SHORT_RATIO = 128, 4
# Texts of different requests share a pass within so many tokens, or within this part of their length.
_NEAR_TOKENS, _NEAR_PART = 4, 16

Owner = TypeVar("Owner", bound=Hashable)
_SPARE_TURNS = 64  # that may be forgotten late, beside as many as there are texts


class Text(NamedTuple):
    """Texts are ordered by tokens, and among equals the first to run is the last."""

    tokens: int
    before: int  # the less, the later the turn
    number: int  # no other text's; the less, the later it came
    row: int  # of its request


class Waiting(Generic[Owner]):
    """The texts of many requests, and the next pass over some of them.

    budget: padded tokens of a pass, unless it is one text. waste: tokens of padding that a pass may have, as in plan().

    Turns are those of weighted fair queueing (Demers, Keshav, Shenker 1989), approximated. A clock advances with each
    pass by its tokens, divided by the number of requests that waited. A request's texts get turns as many tokens apart
    as they have, from the clock's time when the request came. So a request of thousands of texts and one of a single
    text advance alike, and requests that keep coming do not hold up a text that is there: their turns are ever later.
    Passes begin either with the text whose turn is the first of all, or with the first among the short ones; the
    second kind gets as many tokens as the first kind had. So a short text waits for at most one pass over longer ones.
    Other texts join a pass by their turns, too, and not by how well they fit: short ones of all lengths wait alike.
    """

    def __init__(self, budget: int, waste: int) -> None:
        self._budget, self._waste = budget, waste
        self._texts: list[Text] = []  # sorted
        self._owners: dict[int, Owner] = {}  # by the number of a text that waits
        self._numbers: dict[Owner, set[int]] = {}  # of the texts of each request that wait
        self._turns: list[tuple[int, int, Text]] = []  # a heap; a text that has run stays until it comes up or is swept
        self._clock = 0  # in tokens
        self._lead = 0  # tokens that short texts had, less those of texts whose turn it was
        self._number = 0

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, owner: Owner, tokens: Sequence[int]) -> None:
        """Let the texts of a request wait; tokens: of each of its rows."""
        turn, numbers = self._clock, self._numbers.setdefault(owner, set())
        for row in sorted(range(len(tokens)), key=lambda row: -tokens[row]):  # as plan() orders them
            text = Text(tokens[row], -turn, -self._number, row)
            insort(self._texts, text)
            heapq.heappush(self._turns, (turn, self._number, text))
            self._owners[text.number] = owner
            numbers.add(text.number)
            turn += text.tokens
            self._number += 1
        if not numbers:
            del self._numbers[owner]

    def drop(self, owner: Owner) -> None:
        """Forget the texts of a request that still wait."""
        if gone := self._numbers.pop(owner, None):
            self._texts = [text for text in self._texts if text.number not in gone]
            for number in gone:
                del self._owners[number]
            self._sweep()

    def take(self, short: bool = False) -> dict[Owner, list[int]]:
        """The rows of the next pass, by request, and no longer waiting; nothing if nothing waits.

        short: of short texts, if any wait.
        """
        if not self._texts:
            return {}
        requests = len(self._numbers)
        alone = requests == 1
        fair = alone or (self._lead >= 0 and not short)
        first = bisect_left(self._texts, self._next_turn()) if fair else self._next_short()
        places = self._around(first, alone)
        cost = max(self._texts[i].tokens for i in places) * len(places)
        self._lead = 0 if alone else self._lead - cost if fair else min(self._lead + cost, self._budget)
        self._clock += -(-cost // requests)
        taken = self._remove(places)
        self._sweep()
        return taken

    def _next_turn(self) -> Text:
        while self._turns[0][2].number not in self._owners:
            heapq.heappop(self._turns)
        return self._turns[0][2]

    def _sweep(self) -> None:
        """Forget turns of texts that do not wait any more, now and then: at most half of the turns are theirs."""
        if len(self._turns) > 2 * len(self._texts) + _SPARE_TURNS:
            self._turns = [(-text.before, -text.number, text) for text in self._texts]
            heapq.heapify(self._turns)

    def _next_short(self) -> int:
        """Where the text is whose turn is first among the short ones."""
        return next(self._by_turn(0, max(SHORT_TOKENS, _SHORT_RATIO * self._texts[0].tokens)))

    def _by_turn(self, shortest: int, longest: int) -> Iterator[int]:
        """Where the texts of some lengths are, the first turn first."""
        texts, end, runs = self._texts, bisect_left(self._texts, (longest + 1,)), list[Iterable[int]]()
        while end > 0 and texts[end - 1].tokens >= shortest:
            start = bisect_left(texts, (texts[end - 1].tokens,))
            runs.append(range(end - 1, start - 1, -1))  # of one length
            end = start
        return heapq.merge(*runs, key=lambda i: texts[i][1:], reverse=True)

    def _around(self, first: int, alone: bool) -> list[int]:
        """The texts that run with one: by their turns, of those of nearly its length; a lone request's as in plan()."""
        tokens = longest = total = self._texts[first].tokens
        near = self._waste if alone else max(_NEAR_TOKENS, tokens // _NEAR_PART)
        places = [first]
        for i in islice(self._by_turn(tokens - near, tokens + near), self._budget):
            size, longer = len(places) + 1, max(longest, self._texts[i].tokens)
            padding = longer * size - total - self._texts[i].tokens
            if i != first and longer * size <= self._budget and padding <= self._waste:
                places.append(i)
                longest, total = longer, total + self._texts[i].tokens
            if longest * (len(places) + 1) > self._budget:
                break
        return places

    def _remove(self, places: list[int]) -> dict[Owner, list[int]]:
        taken: dict[Owner, list[int]] = {}
        for text in [self._texts[i] for i in places]:
            owner = self._owners.pop(text.number)
            taken.setdefault(owner, []).append(text.row)
            self._numbers[owner].remove(text.number)
            if not self._numbers[owner]:
                del self._numbers[owner]
        for i in sorted(places, reverse=True):
            del self._texts[i]
        return taken
