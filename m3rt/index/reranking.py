"""The last stage of a search: a reranker reads the query with each of the best documents and has the last word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    scores = reranker.compute_score([(query, text) for text in passages(hits)])
    return by_scores(hits, list(scores), k), int(scores.truncated.sum())


def passages(hits: Iterable[Hit]) -> list[str]:
    """The texts that a reranker reads. Raises InputError for a hit without one."""
    return [_text(hit) for hit in hits]


def by_scores(hits: Sequence[Hit], scores: Sequence[float], k: int) -> tuple[Hit, ...]:
    """The k best hits by a reranker's scores of them, equal ones in their order."""
    order = sorted(range(len(hits)), key=lambda i: -scores[i])[:k]
    return tuple(_scored(hits[i], scores[i]) for i in order)


def _text(hit: Hit) -> str:
    if hit.text is None:
        raise InputError(f"document {hit.id!r:.60} has no text, which a reranker reads; add it again with its text")
    return hit.text


def _scored(hit: Hit, score: float) -> Hit:
    before = {FUSED: hit.score} if len(hit.scores) > 1 else {}
    return replace(hit, score=score, scores={**hit.scores, **before, RERANKER: score})
