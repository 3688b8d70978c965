"""The part of a text that shows best why it was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .console import plain

WIDTH = 240  # characters
_WORD = re.compile(r"\S+")
_LONG = 24  # characters; in longer words, as of scripts without spaces, only the pieces are marked
_AROUND = 40  # characters before the first match

Tokens = Callable[[Sequence[str]], list[list[int]]]


class Match(NamedTuple):
    """Where a term of the query stands in a text."""

    start: int
    end: int
    term: int


def snippet(
    text: str, terms: Mapping[int, float], tokens: Tokens, piece: Callable[[int], str], mark: Callable[[str], str]
) -> str:
    """One line of about WIDTH characters around the words that add most to the sparse score, those words marked.

    terms: what each token id adds. tokens: token ids of words; piece: a token as text; mark: makes a word stand out.
    """
    matches = list(_matches(text, terms, tokens, piece))
    start = _start(matches, terms)
    start = text.find(" ", max(0, start - _AROUND), start) + 1 or max(0, start - _AROUND)
    end = start + WIDTH
    if end < len(text) and (space := text.rfind(" ", start + WIDTH // 2, end)) > 0:
        end = space
    shown = _marked(text[:end], start, [m for m in matches if start <= m.start and m.end <= end], mark)
    return f"{'… ' * (start > 0)}{shown}{' …' * (end < len(text))}"


def _matches(text: str, terms: Mapping[int, float], tokens: Tokens, piece: Callable[[int], str]) -> Iterator[Match]:
    words = [] if not terms else list(_WORD.finditer(text))
    distinct = list(dict.fromkeys(word[0] for word in words))
    found = {word: [i for i in ids if i in terms] for word, ids in zip(distinct, tokens(distinct), strict=True)}
    for word in words:
        for term in dict.fromkeys(found[word[0]]):
            if len(word[0]) <= _LONG:
                yield Match(word.start(), word.end(), term)
            elif shown := piece(term).strip():
                for place in re.finditer(re.escape(shown), word[0], re.IGNORECASE):
                    yield Match(word.start() + place.start(), word.start() + place.end(), term)


def _start(matches: Sequence[Match], terms: Mapping[int, float]) -> int:
    """Where the window with the largest sum of distinct terms begins."""
    best, start = 0.0, 0
    for i, first in enumerate(matches):
        inside = {m.term for m in matches[i : i + WIDTH] if m.end - first.start <= WIDTH - _AROUND}
        value = sum(terms[term] for term in inside)
        if value > best * (1 + 1e-9):
            best, start = value, first.start
    return start


def _marked(text: str, start: int, matches: Sequence[Match], mark: Callable[[str], str]) -> str:
    parts, done = [], start
    for match in sorted(matches):
        if match.end > done:
            parts += [plain(text[done : match.start]), mark(plain(text[max(done, match.start) : match.end]))]
            done = match.end
    return "".join([*parts, plain(text[done:])])
