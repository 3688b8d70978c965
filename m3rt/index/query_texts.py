"""Texts of queries: each must have something to search for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import InputError
from ..values.listing import listed
from ..values.shown import shown
from ..values.texts import check_texts

if TYPE_CHECKING:
    from ..encoder import M3Encoder

_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol of Unicode that are drawn as empty space


def checked_queries(queries: Iterable[str]) -> list[str]:
    """The queries as a list. Raises InputError for anything but texts, and for a text that shows nothing."""
    if isinstance(queries, str):
        raise InputError("queries is a str, expected a list of str; search takes one")
    texts: list[str] = listed("queries", queries)
    check_texts(texts)
    for i, query in enumerate(texts):
        if all(map(_is_blank, query)):
            raise InputError(f"query {i} is empty, expected words to search for")
    return texts


def check_tokens(encoder: M3Encoder, queries: Sequence[str]) -> None:
    """Raise InputError for a query without a token that the model knows and that has a text."""
    unused = set(encoder.manifest.special_tokens.unused)
    for i, query in enumerate(queries):
        known = dict.fromkeys({*encoder.tokenize(query)} - unused, 1.0)
        # A word's first token may be a space.
        if not any(text.strip() for text in encoder.convert_id_to_token(known) if isinstance(text, str)):
            raise InputError(f"query {i} is {shown(query)}, of which the model knows no token; expected words")


def _is_blank(character: str) -> bool:
    """Whether a character alone shows nothing: spaces, controls, formats, marks without a base, fillers."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cf") or category[0] in "ZM" or character in _FILLERS
