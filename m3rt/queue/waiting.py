"""Texts that wait for a pass, and which of them run next: a data structure without threads and without a clock."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

# Texts count as short beside the shortest one that waits: up to so many tokens, or so many times its own.
SHORT_TOKENS, _SHORT_RATIO = 64, 4

Owner = TypeVar("Owner", bound=Hashable)
_SPARE_TURNS = 64  # that may be forgotten late, beside as many as there are texts


class Text(NamedTuple):
    """Texts are ordered by tokens, and among equals the first to run is the last: passes grow towards shorter texts."""

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
    Passes begin either with the text whose turn is the first of all, or with the first among the shortest ones; the
    second kind gets as many tokens as the first kind had. So a short text waits for at most one pass over longer ones.
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

    def take(self) -> dict[Owner, list[int]]:
        """The rows of the next pass, by request, and no longer waiting; nothing if nothing waits."""
        if not self._texts:
            return {}
        requests = len(self._numbers)
        alone = requests == 1
        fair = alone or self._lead >= 0
        first = bisect_left(self._texts, self._next_turn()) if fair else self._next_short()
        start, end = self._around(first)
        cost = self._texts[end - 1].tokens * (end - start)
        self._lead = 0 if alone else self._lead - cost if fair else self._lead + cost
        self._clock += -(-cost // requests)
        taken = self._remove(start, end)
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
        """Where the text is whose turn is first among the shortest ones."""
        limit = max(SHORT_TOKENS, _SHORT_RATIO * self._texts[0].tokens)
        firsts, end = [], 0
        while end < len(self._texts) and self._texts[end].tokens <= limit:
            end = bisect_left(self._texts, (self._texts[end].tokens + 1,))
            firsts.append(end - 1)  # of its length
        return max(firsts, key=lambda i: self._texts[i][1:])

    def _around(self, first: int) -> tuple[int, int]:
        """The texts start:end around one that fit into a pass with it, those of the nearest lengths."""
        texts, start, end, padding = self._texts, first, first + 1, 0
        while True:
            longest = texts[end - 1].tokens
            choices = []
            if start > 0:
                choices.append((padding + longest - texts[start - 1].tokens, longest, start - 1, end))
            if end < len(texts):
                longer = texts[end].tokens
                choices.append((padding + (longer - longest) * (end - start), longer, start, end + 1))
            fitting = [
                choice
                for choice in choices
                if choice[0] <= self._waste and choice[1] * (choice[3] - choice[2]) <= self._budget
            ]
            if not fitting:
                return start, end
            padding, _, start, end = min(fitting)

    def _remove(self, start: int, end: int) -> dict[Owner, list[int]]:
        taken: dict[Owner, list[int]] = {}
        for text in reversed(self._texts[start:end]):
            owner = self._owners.pop(text.number)
            taken.setdefault(owner, []).append(text.row)
            self._numbers[owner].remove(text.number)
            if not self._numbers[owner]:
                del self._numbers[owner]
        del self._texts[start:end]
        return taken
