"""The part of a text that shows best why it was found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ...values.printable import plain

WIDTH = 240  # characters
_WORD = re.compile(r"\S+")
_LONG = 24  # characters; in longer words, as of scripts without spaces, only the pieces are marked
_AROUND = 40  # characters before the first match
_READ = 1 << 16  # characters of a text that are looked at; models take fewer
_PIECES = 32  # the heaviest terms that are looked for in a long word

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
    text = text[:_READ]
    matches = sorted(_matches(text, terms, tokens, piece))
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
    heaviest = {*sorted(terms, key=lambda term: -terms[term])[:_PIECES]}
    for word in words:
        for term in dict.fromkeys(found[word[0]]):
            if len(word[0]) <= _LONG:
                yield Match(word.start(), word.end(), term)
            elif term in heaviest and (shown := piece(term).strip()):
                for place in re.finditer(re.escape(shown), word[0], re.IGNORECASE):
                    yield Match(word.start() + place.start(), word.start() + place.end(), term)


def _start(matches: Sequence[Match], terms: Mapping[int, float]) -> int:
    """Where the window with the largest sum of distinct terms begins."""
    best, start, value, end = 0.0, 0, 0.0, 0
    inside: Counter[int] = Counter()  # matches of each term in the window, which moves over the sorted matches
    for first in matches:
        while end < len(matches) and matches[end].end - first.start <= WIDTH - _AROUND:
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
