"""The last stage of a search: a reranker reads the query with each of the best documents and has the last word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import InputError
from .search.result import Hit

if TYPE_CHECKING:
    from ..reranker import M3Reranker

FUSED, RERANKER = "fused", "reranker"  # names of scores: of the stages before together, and of this one


def reranked(reranker: M3Reranker, query: str, hits: tuple[Hit, ...], k: int) -> tuple[tuple[Hit, ...], int]:
    """The k best hits by the reranker's scores, and how many pairs it cut.

    Raises InputError for a hit without a text, and what the reranker raises.
    """
    ranked = reranker.rank(query, [_text(hit) for hit in hits])
    best = tuple(_scored(hits[place.index], place.score) for place in ranked[:k])
    return best, sum(place.truncated for place in ranked)


def _text(hit: Hit) -> str:
    if hit.text is None:
        raise InputError(f"document {hit.id!r:.60} has no text, which a reranker reads; add it again with its text")
    return hit.text


def _scored(hit: Hit, score: float) -> Hit:
    before = {FUSED: hit.score} if len(hit.scores) > 1 else {}
    return replace(hit, score=score, scores={**hit.scores, **before, RERANKER: score})
