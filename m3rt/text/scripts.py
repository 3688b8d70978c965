"""Writing systems of characters, by the first word of their names in Unicode."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

# Names of Han characters and of Japanese marks that begin with another word.
_ALSO = {"IDEOGRAPHIC": "CJK", "KATAKANA-HIRAGANA": "KATAKANA"}
_CACHED_CHARACTERS = 4096


@lru_cache(_CACHED_CHARACTERS)
def script(character: str) -> str:
    """The script of a letter, such as LATIN, CYRILLIC, CJK (Han) or HIRAGANA; "" for anything but a letter."""
    if not unicodedata.category(character).startswith("L"):
        return ""
    word = unicodedata.name(character, "").partition(" ")[0]
    return _ALSO.get(word, word)


def scripts(text: str) -> set[str]:
    """The scripts of a text's letters."""
    return {*map(script, text)} - {""}
