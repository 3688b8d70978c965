"""Characters as readers see them: says which code points belong to the one before.

The rules are Unicode's for extended grapheme clusters (UAX #29), without the rules for Indic conjuncts. Where they are
simplified they join more: any mark, any joiner, some letters, Hangul, pairs of regional indicators, skin tones, tags.
"""

from __future__ import annotations

import unicodedata
from itertools import takewhile

# Letters of Thai, Lao and halfwidth Japanese that follow another letter as its vowel or voicing.
_LETTERS = "\u0e33\u0eb3\uff9e\uff9f"
_FIRST_MARK = 0x300  # no code point below is a mark
_ZWJ = 0x200D
_JOINERS = "\u200c\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_TAGS = range(0xE0020, 0xE0080)
_REGIONAL = range(0x1F1E6, 0x1F200)  # two make a flag
_LEADING = (range(0x1100, 0x1160), range(0xA960, 0xA980))  # Hangul letters that begin a syllable
_FOLLOWING = (range(0x1160, 0x1200), range(0xD7B0, 0xD800))  # Hangul letters that continue a syllable


def joins(text: str, i: int) -> bool:
    """Whether text[i] belongs to the character before it, 0 < i < len(text)."""
    code, before = ord(text[i]), ord(text[i - 1])
    if code < _FIRST_MARK and before != _ZWJ:
        return False
    if before == _ZWJ or text[i] in _JOINERS or text[i] in _LETTERS or code in _SKIN_TONES or code in _TAGS:
        return True
    if code in _REGIONAL:
        run = takewhile(lambda c: ord(c) in _REGIONAL, reversed(text[max(i - 64, 0) : i]))
        return sum(1 for _ in run) % 2 == 1
    if any(code in letters for letters in _FOLLOWING):
        return True
    if any(code in letters for letters in _LEADING):
        return any(before in letters for letters in _LEADING)
    return unicodedata.category(text[i])[0] == "M"
