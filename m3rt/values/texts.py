"""Checks of texts, and of pairs of a query and a passage, in anything that holds them in order."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from .listing import is_missing, listed
from .schema import SURROGATE
from .shown import a_kind, shown


def check_texts(texts: Sequence[object], noun: str = "text") -> None:
    """Raise InputError, with the index, for the first item that is not a str of valid Unicode."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            if text is not None and is_missing(text):
                raise InputError(f"{noun} {i} is {shown(text)}, a missing value, expected str; fill it or leave it out")
            raise InputError(f"{noun} {i} is {a_kind(text)}, expected str")
        if not text.isascii() and (match := SURROGATE.search(text)):
            raise InputError(
                f"{noun} {i} holds a lone surrogate U+{ord(match[0]):04X} at character {match.start()}: not valid "
                "Unicode; repair it with text.encode('utf-8', 'replace').decode()"
            )


def pairs_of(sentence_pairs: object) -> tuple[list[tuple[str, str]], bool]:
    """Return pairs of texts, and whether one pair came alone. Raises InputError with the index of the pair."""
    advice = "; give zip(queries, passages)"
    pairs = listed("sentence_pairs", sentence_pairs, "a list of (query, passage)", advice=advice)
    single = bool(pairs) and isinstance(pairs[0], str)
    pairs = [_pair(i, pair) for i, pair in enumerate([pairs] if single else pairs)]
    check_texts([query for query, _ in pairs], "the query of pair")
    check_texts([passage for _, passage in pairs], "the passage of pair")
    return pairs, single


def _pair(place: int, pair: object) -> tuple[str, str]:
    try:
        query, passage = listed("pair", pair)
    except ValueError:  # not two items, or no list, which is an InputError
        raise InputError(f"pair {place} is {shown(pair)}, expected (query, passage)") from None
    return query, passage
