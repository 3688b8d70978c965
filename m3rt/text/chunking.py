"""Cuts long texts into overlapping chunks of a number of tokens: every word is in at least one chunk, whole."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Self

from ..values.arguments import whole_number
from .clusters import joins
from .tokenizer import Tokenizer

_WORD = re.compile(r"\S+")
# Longer words are cut into slices: in scripts without spaces a "word" is a sentence.
_MAX_WORD, _SLICE = 24, 8  # characters
MIN_CHUNK_TOKENS = 32  # room for any word that is not cut
_NO_LIMIT = 1 << 20  # tokens

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chunker:
    """Cuts texts into spans of at most `tokens` tokens, <s> and </s> counted, that share about `overlap` tokens.

    lengths: counts the tokens of texts, special tokens included. Raises InputError for numbers out of range.
    """

    lengths: Callable[[Sequence[str]], list[int]]
    tokens: int
    overlap: int

    def __post_init__(self) -> None:
        whole_number("chunk_tokens", self.tokens, MIN_CHUNK_TOKENS, _NO_LIMIT)
        whole_number("chunk_overlap", self.overlap, 0, self.tokens // 2)

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_tokens: int, tokens: int, overlap: int) -> Self:
        """Make a chunker that counts with `tokenizer`, for a model that takes `max_tokens`."""
        return cls(
            lambda texts: tokenizer.encode(texts, _NO_LIMIT).lengths.tolist(),
            whole_number("chunk_tokens", tokens, MIN_CHUNK_TOKENS, max_tokens),
            overlap,
        )

    def spans(self, text: str) -> list[Span]:
        """Return where each chunk begins and ends, in characters; a text that fits, even an empty one, has one chunk.

        A chunk begins and ends between two characters as readers see them, so that no accent or part of an emoji is
        torn off. Only a character of more tokens than a chunk is cut inside.
        """
        if self.lengths([text])[0] <= self.tokens:
            return [(0, len(text))]
        pieces, counts = self._fitting(text, list(_pieces(text)))
        room = self.tokens - 2
        while True:
            spans = _packed(pieces, counts, room, self.overlap)
            # Rarely, pieces of one word have more tokens together than apart. Excess at a room of 1 comes from a
            # character of more tokens than a chunk.
            excess = max(self.lengths([text[a:b] for a, b in spans])) - self.tokens
            if excess <= 0 or room == 1:
                return spans
            room = max(1, room - excess)

    def _fitting(self, text: str, pieces: list[Span]) -> tuple[list[Span], list[int]]:
        """Return pieces and their token counts; cut a piece of more tokens than a chunk into parts until all fit."""
        room = self.tokens - 2
        while True:
            counts = [n - 2 for n in self.lengths([text[a:b] for a, b in pieces])]
            counted = zip(pieces, counts, strict=True)
            cut = [[piece] if n <= room else _parts(text, *piece, -(-n // room)) for piece, n in counted]
            if len(parts := [*chain.from_iterable(cut)]) == len(pieces):
                return pieces, counts
            pieces = parts


def _pieces(text: str) -> Iterator[Span]:
    """Yield the words of a text, long ones in slices."""
    for word in _WORD.finditer(text):
        start, end = word.span()
        while start and joins(text, start):  # a mark on a space
            start -= 1
        step = _SLICE if end - start > _MAX_WORD else _MAX_WORD
        while start < end:
            cut = min(start + step, end)
            while cut < end and joins(text, cut):
                cut += 1
            yield start, cut
            start = cut


def _parts(text: str, start: int, end: int, n: int) -> list[Span]:
    """Cut into about n parts, at least 2 of 2 characters or more, between characters as readers see them if it can."""
    cuts = [cut for cut in range(start + 1, end) if not joins(text, cut)] or list(range(start + 1, end))
    chosen = cuts[len(cuts) // n :: max(1, len(cuts) // n)] if n > 2 else cuts[len(cuts) // 2 :][:1]
    return list(pairwise([start, *chosen, end]))


def _packed(pieces: Sequence[Span], counts: Sequence[int], room: int, overlap: int) -> list[Span]:
    """Fill each chunk with as many pieces as fit; start the next at the first piece that fits into the overlap."""
    before = [0, *accumulate(counts)]  # tokens before each piece
    spans, first = [], 0
    while True:
        last = max(first + 1, bisect_right(before, before[first] + room) - 1)  # the piece after the chunk
        spans.append((pieces[first][0], pieces[last - 1][1]))
        if last == len(pieces):
            return spans
        # The overlap must leave room for the next piece: otherwise the chunk would hold nothing new.
        shared = bisect_left(before, max(before[last] - overlap, before[last + 1] - room))
        first = max(first + 1, min(last, shared))
