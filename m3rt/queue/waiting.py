"""Texts that wait for a pass, and which of them run next: a data structure without threads and without a clock."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

# Texts are in classes by their length: the first reaches to so many tokens, each further one to so many times as many.
SHORT_TOKENS, _CLASS_RATIO = 256, 4
_OVERTAKEN_PASSES = 4  # a text joins a pass if no more passes' worth of tokens have their turns before its own
# Texts of different requests share a pass within these parts of the waste that it may have and of their length.
_NEAR_WASTE_PART, _NEAR_PART = 10, 16

Owner = TypeVar("Owner", bound=Hashable)


class Text(NamedTuple, Generic[Owner]):
    """Texts are ordered by their turns."""

    turn: int
    number: int  # no other text's; the less, the earlier it came
    tokens: int
    row: int  # of its request
    owner: Owner


class Waiting(Generic[Owner]):
    """The texts of many requests, and the next pass over some of them.

    budget: padded tokens of a pass, unless it is one text. waste: tokens of padding that a pass may have, as in plan().

    A pass begins with the text whose turn is first, and others of nearly its length join it if their turns come soon:
    no text overtakes more than a few passes' worth of others, so all of them wait about as long. Every second pass, by
    tokens, is for the shortest class of texts that waits: a short text waits for at most one pass over longer ones.

    Turns are those of weighted fair queueing (Demers, Keshav, Shenker 1989), approximated. A clock advances with each
    pass by its tokens, divided by the number of requests that waited. A request's texts get turns as many tokens apart
    as they have, from the clock's time when the request came. So a request of thousands of texts and one of a single
    text advance alike, and requests that keep coming do not hold up a text that is there: their turns are ever later.
    """

    def __init__(self, budget: int, waste: int) -> None:
        self._budget, self._waste = budget, waste
        self._classes: list[list[Text[Owner]]] = []  # each sorted
        self._left: dict[Owner, dict[int, Text[Owner]]] = {}  # texts of each request that wait, by row
        self._clock = 0  # in tokens
        self._lead = 0  # tokens that short texts had, less those of texts whose turn it was
        self._number = 0

    def __len__(self) -> int:
        return sum(map(len, self._classes))

    def add(self, owner: Owner, tokens: Sequence[int]) -> None:
        """Let the texts of a request wait; tokens: of each of its rows."""
        turn, texts = self._clock, {}
        for row in sorted(range(len(tokens)), key=lambda row: -tokens[row]):  # as plan() orders them
            text = Text(turn, self._number, tokens[row], row, owner)
            texts[row] = text
            insort(self._class_of(text), text)
            turn += text.tokens
            self._number += 1
        if texts:
            self._left[owner] = texts

    def drop(self, owner: Owner) -> None:
        """Forget the texts of a request that still wait."""
        self._remove(list(self._left.get(owner, {}).values()))

    def take(self, short: bool = False) -> dict[Owner, list[int]]:
        """The rows of the next pass, by request, and no longer waiting; nothing if nothing waits.

        short: of the shortest class that waits; of no effect while one request waits alone.
        """
        if not self._left:
            return {}
        waiting = [texts for texts in self._classes if texts]
        requests = len(self._left)
        if requests == 1:
            texts = self._pass(heapq.merge(*waiting), self._waste)  # as plan() would
            self._lead = 0
        else:
            fair = self._lead >= 0 and not short
            by_turn = min(waiting, key=lambda texts: texts[0]) if fair else waiting[0]
            near = max(self._waste // _NEAR_WASTE_PART, by_turn[0].tokens // _NEAR_PART)
            texts = self._pass(by_turn, near)
            cost = _padded(texts)
            self._lead = self._lead - cost if fair else min(self._lead + cost, self._budget)
        self._clock += -(-_padded(texts) // requests)
        return self._remove(texts)

    def _class_of(self, text: Text[Owner]) -> list[Text[Owner]]:
        number, longest = 0, SHORT_TOKENS
        while text.tokens > longest:
            number, longest = number + 1, longest * _CLASS_RATIO
        while len(self._classes) <= number:
            self._classes.append([])
        return self._classes[number]

    def _pass(self, by_turn: Iterable[Text[Owner]], near: int) -> list[Text[Owner]]:
        """The first text, and those that run with it."""
        taken: list[Text[Owner]] = []
        before = longest = total = 0  # tokens
        for text in by_turn:
            before += text.tokens
            longer, rows = max(longest, text.tokens), len(taken) + 1
            full = longest * rows > self._budget or before > _OVERTAKEN_PASSES * self._budget
            if taken and full:
                break
            fits = longer * rows <= self._budget and longer * rows - total - text.tokens <= self._waste
            if not taken or (fits and abs(text.tokens - taken[0].tokens) <= near):
                taken.append(text)
                longest, total = longer, total + text.tokens
        return taken

    def _remove(self, texts: list[Text[Owner]]) -> dict[Owner, list[int]]:
        taken: dict[Owner, list[int]] = {}
        for text in texts:
            same = self._class_of(text)
            del same[bisect_left(same, text)]
            taken.setdefault(text.owner, []).append(text.row)
            del self._left[text.owner][text.row]
            if not self._left[text.owner]:
                del self._left[text.owner]
        return taken


def _padded(texts: list[Text[Owner]]) -> int:
    return max(text.tokens for text in texts) * len(texts)
