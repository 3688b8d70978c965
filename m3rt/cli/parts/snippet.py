"""Snippets: the part of a text that best shows why the search returned it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ...values.printable import plain

WIDTH = 240  # characters of a snippet
_WORD = re.compile(r"\S+")
_WORD_CHARACTERS = 24  # in a longer word, as in scripts without spaces, only the matching pieces are marked
_LEAD_CHARACTERS = 40  # characters shown before the first match
_TEXT_CHARACTERS = 1 << 16  # characters of a text that are searched for matches; models take fewer
_LONG_WORD_TERMS = 32  # the heaviest terms that are searched for in a long word

Tokens = Callable[[Sequence[str]], list[list[int]]]


class Match(NamedTuple):
    """The place of a term of the query in a text."""

    start: int
    end: int
    term: int


def snippet(
    text: str, terms: Mapping[int, float], tokens: Tokens, piece: Callable[[int], str], mark: Callable[[str], str]
) -> str:
    """One line of about WIDTH characters around the words that add most to the sparse score, those words marked.

    terms: the part of the score that each token id adds. tokens: gives the token ids of words. piece: gives a token's
    text. mark: makes a word stand out.
    """
    text = text[:_TEXT_CHARACTERS]
    matches = sorted(_matches(text, terms, tokens, piece))
    start = _start(matches, terms)
    start = text.find(" ", max(0, start - _LEAD_CHARACTERS), start) + 1 or max(0, start - _LEAD_CHARACTERS)
    end = start + WIDTH
    if end < len(text) and (space := text.rfind(" ", start + WIDTH // 2, end)) > 0:
        end = space
    shown = _marked(text[:end], start, [m for m in matches if start <= m.start and m.end <= end], mark)
    return f"{'… ' * (start > 0)}{shown}{' …' * (end < len(text))}"


def _matches(text: str, terms: Mapping[int, float], tokens: Tokens, piece: Callable[[int], str]) -> Iterator[Match]:
    words = [] if not terms else list(_WORD.finditer(text))
    distinct = list(dict.fromkeys(word[0] for word in words))
    found = {word: [i for i in ids if i in terms] for word, ids in zip(distinct, tokens(distinct), strict=True)}
    heaviest = {*sorted(terms, key=lambda term: -terms[term])[:_LONG_WORD_TERMS]}
    for word in words:
        for term in dict.fromkeys(found[word[0]]):
            if len(word[0]) <= _WORD_CHARACTERS:
                yield Match(word.start(), word.end(), term)
            elif term in heaviest and (shown := piece(term).strip()):
                for place in re.finditer(re.escape(shown), word[0], re.IGNORECASE):
                    yield Match(word.start() + place.start(), word.start() + place.end(), term)


def _start(matches: Sequence[Match], terms: Mapping[int, float]) -> int:
    """The start of the window with the largest sum of distinct terms."""
    best, start, value, end = 0.0, 0, 0.0, 0
    inside: Counter[int] = Counter()  # matches of each term in the window, which moves over the sorted matches
    for first in matches:
        while end < len(matches) and matches[end].end - first.start <= WIDTH - _LEAD_CHARACTERS:
            value += 0.0 if inside[matches[end].term] else terms[matches[end].term]
            inside[matches[end].term] += 1
            end += 1
        if value > best * (1 + 1e-9):
            best, start = value, first.start
        if inside[first.term]:
            inside[first.term] -= 1
            value -= 0.0 if inside[first.term] else terms[first.term]
        else:  # longer than a window
            end += 1
    return start


def _marked(text: str, start: int, matches: Sequence[Match], mark: Callable[[str], str]) -> str:
    parts, done = [], start
    for match in matches:
        if match.end > done:
            parts += [plain(text[done : match.start]), mark(plain(text[max(done, match.start) : match.end]))]
            done = match.end
    return "".join([*parts, plain(text[done:])])
