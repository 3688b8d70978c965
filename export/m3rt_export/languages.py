"""The writing systems of the languages that XLM-R was trained on, by ISO 639 codes."""

from __future__ import annotations

from collections.abc import Sequence

from m3rt.errors import InputError

_LANGUAGES = {
    "LATIN": "af az br bs ca cs cy da de en eo es et eu fi fil fr fy ga gd gl ha hr hu id is it jv ku la lt lv mg ms "
    "nl nb nn no om pl pt ro sk sl so sq sr su sv sw tl tr uz vi xh",
    "CYRILLIC": "be bg kk ky mk mn ru sr uk",
    "ARABIC": "ar fa ps sd ug ur",
    "DEVANAGARI": "hi mr ne sa",
    "BENGALI": "as bn",
    "CJK": "ja zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "BOPOMOFO": "zh",
    "HANGUL": "ko",
    "GREEK": "el",
    "HEBREW": "he yi",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "GEORGIAN": "ka",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "KANNADA": "kn",
    "KHMER": "km",
    "LAO": "lo",
    "MALAYALAM": "ml",
    "MYANMAR": "my",
    "ORIYA": "or",
    "SINHALA": "si",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
}


def scripts_of(languages: Sequence[str]) -> set[str]:
    """The scripts of languages. Raises InputError for an unknown code, and for none."""
    known = {code: {s for s, codes in _LANGUAGES.items() if code in codes.split()} for code in codes()}
    for code in languages:
        if code not in known:
            raise InputError(f"the language is {code!r:.40}, expected one of {', '.join(known)}; or use --vocab-from")
    if not languages:
        raise InputError("languages is empty, expected codes such as en,de")
    return set().union(*(known[code] for code in languages))


def codes() -> list[str]:
    """All codes, in alphabetical order."""
    return sorted({code for group in _LANGUAGES.values() for code in group.split()})
