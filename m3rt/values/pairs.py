"""Pairs of a query and a passage, from whatever holds them in an order."""

from __future__ import annotations

from ..errors import InputError
from ..text.tokenizer import check_texts
from .listing import listed
from .shown import shown


def pairs_of(given: object) -> tuple[list[tuple[str, str]], bool]:
    """Pairs of texts, and whether one was given alone. Raises InputError, with the index of the pair."""
    advice = "; give zip(queries, passages)"
    pairs = listed("sentence_pairs", given, "a list of (query, passage)", advice=advice)
    single = bool(pairs) and isinstance(pairs[0], str)
    pairs = [_pair(i, pair) for i, pair in enumerate([pairs] if single else pairs)]
    check_texts([query for query, _ in pairs], "the query of pair")
    check_texts([passage for _, passage in pairs], "the passage of pair")
    return pairs, single


def _pair(place: int, pair: object) -> tuple[str, str]:
    wanted = InputError(f"pair {place} is {shown(pair)}, expected (query, passage)")
    try:
        query, passage = listed("pair", pair)
    except ValueError:  # not two, or no list, which is an InputError
        raise wanted from None
    return query, passage
