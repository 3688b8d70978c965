"""Distinct pieces and UTF-8 bytes of a text, from its tokens: laws fitted to corpora, benchmarks/LOG.md has the fit."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

# Of fifteen corpora in 21 languages, whole texts and texts cut to 64 to 512 tokens of XLM-R.
_FACTOR, _EXPONENT = 1.6, 0.815
_SPECIAL_TOKENS = 2  # have no lexical weight
# Fewer are distinct than in prose: of code and command pages, laws, and abstracts of papers.
_DOMAIN_FACTORS = {"code": 0.70, "legal": 0.80, "science": 0.87}

_CODE_BYTES, _LATIN_BYTES = 3.1, 4.3  # UTF-8, for a token
# Measured on xquad_dev, ntrex_doc and persianqa: ar el fa hi id ru th vi zh ja ko. Others are assumed to be like the
# language of their script or family.
_BYTES = {
    "ar fa he ps sd ug ur yi": 6.0,
    "am as bn gu hi kn ml mr ne or pa sa si ta te": 8.8,
    "be bg kk ky mk mn ru sr uk": 7.2,
    "el hy ka": 6.2,
    "id jv ms su vi": 5.0,
    "ja ko zh": 4.4,
    "km lo my th": 10.2,
}


def distinct_pieces(tokens: float, domain: str = "general") -> float:
    """About how many distinct pieces a text of so many tokens has, special ones not counted."""
    law: float = _FACTOR * float(tokens) ** _EXPONENT * _DOMAIN_FACTORS.get(domain, 1.0)
    return max(0.0, min(tokens - _SPECIAL_TOKENS, law))


def frequent_pieces(tokens: float, languages: int = 1) -> float:
    """About how many pieces are in a tenth of the texts, or in more.

    By Zipf's law the piece of rank r is every 10 r-th token or so: it is in a tenth of the texts where r is below their
    tokens. Of several languages in equal shares, each has a part of the texts.
    """
    return tokens / languages


def text_bytes(tokens: float, languages: Sequence[str] | AbstractSet[str] = (), domain: str = "general") -> float:
    """About how many UTF-8 bytes a text of so many tokens has, of the languages in equal shares."""
    if domain == "code":
        return _CODE_BYTES * tokens
    return tokens * sum(map(_token_bytes, languages)) / len(languages) if languages else _LATIN_BYTES * tokens


def _token_bytes(language: str) -> float:
    return next((size for codes, size in _BYTES.items() if language in codes.split()), _LATIN_BYTES)
