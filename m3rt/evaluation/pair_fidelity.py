"""Fidelity of a reranker: how near its scores, and the order they give, are to another's of the same checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..values.counts import counted
from .fidelity import built_in_texts

_QUERIES = 20
_PASSAGES = 50  # of each query


@dataclass(frozen=True, slots=True)
class PairFidelity:
    """Scores between 0 and 1 beside a reference's, over `pairs` pairs.

    order: Kendall's tau of the two orders of a query's fifty passages, mean of the queries. score_error: the largest
    difference of two scores.
    """

    pairs: int
    order: float
    score_error: float

    @property
    def sample(self) -> str:
        """How many pairs were compared, in words."""
        return counted(self.pairs, "pair")

    def values(self) -> dict[str, float]:
        """Return the numbers that were measured, without the number of pairs."""
        return {"order": self.order, "score_error": self.score_error}


def built_in_pairs() -> list[tuple[str, str]]:
    """Twenty queries in turn, each with the fifty sentences after it: some in its language, most in others."""
    texts = built_in_texts()
    step = len(texts) // _QUERIES
    return [
        (texts[start], texts[(start + place) % len(texts)])
        for start in range(0, step * _QUERIES, step)
        for place in range(1, _PASSAGES + 1)
    ]


def pair_fidelity(found: NDArray[np.float64], expected: NDArray[np.float64]) -> PairFidelity:
    """Scores of built_in_pairs(), (n,), beside a reference's."""
    lists = (scores.reshape(-1, _PASSAGES) for scores in (found, expected))
    order = np.mean([kendall_tau(a, b) for a, b in zip(*lists, strict=True)])
    return PairFidelity(len(found), float(order), float(np.abs(found - expected).max()))


def kendall_tau(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Kendall's tau-a of the orders that two lists of scores (n,) give (Biometrika 30, 1938): 1 if the same."""
    upper = np.triu_indices(len(one), 1)
    first, second = (np.sign(scores[:, None] - scores)[upper] for scores in (one, other))
    return float((first * second).mean())
