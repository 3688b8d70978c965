"""A reranker, as adapters see one: scores of pairs, whatever computes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ...errors import InputError
from ...values.counts import counted
from ...values.listing import listed

_ALL_VIEWS = "colbert+sparse+dense"


class Reranker(Protocol):
    """What scores pairs of query and passage: a cross-encoder, or an M3Encoder, which compares all three views."""

    def compute_score(self, sentence_pairs: list[tuple[str, str]]) -> Any:
        """A number for each pair, or FlagEmbedding's mapping of modes to such numbers."""
        ...


def relevance(reranker: Reranker, query: str, passages: Sequence[str]) -> list[float]:
    """The score of each passage, the higher the better. Raises InputError for scores that are not one for each."""
    if not passages:
        return []
    found = reranker.compute_score([(query, passage) for passage in passages])
    if isinstance(found, Mapping):
        found = found[_ALL_VIEWS]
    scores = [float(score) for score in listed("scores", found, "a number for each pair")]
    if len(scores) != len(passages):
        raise InputError(
            f"the reranker gave {counted(len(scores), 'score')} for {counted(len(passages), 'pair')}, expected as many"
        )
    return scores


def best(scores: Iterable[float], n: int | None) -> list[int]:
    """The places of the n best scores, best first, all where n is None; equal ones keep their order."""
    listed_scores = list(scores)
    order = sorted(range(len(listed_scores)), key=lambda i: -listed_scores[i])
    return order[:n]
