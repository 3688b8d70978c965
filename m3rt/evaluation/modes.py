"""The ways to rank documents: by each view alone, and by fusions of views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from m3rt_kernels import rrf, top_k
from numpy.typing import NDArray

from ..embeddings import VIEWS, WEIGHTS

DEPTH = 100  # documents of a ranking that are measured

_FUSED_DOCUMENTS = 1000  # of each view that reciprocal rank fusion takes, as the paper does

Scores = Mapping[str, NDArray[np.float32]]  # by view, (documents,); -inf where a score was not computed


@dataclass(frozen=True, slots=True)
class RankingMode:
    """The views that a ranking uses, and how several of them are fused."""

    views: tuple[str, ...]
    fusion: Literal["none", "weights", "rrf"] = "none"

    def rank(
        self, scores: Scores, pool: NDArray[np.bool_], weights: Mapping[str, float] = WEIGHTS, *, depth: int = DEPTH
    ) -> NDArray[np.int64]:
        """Return the best `depth` documents of the pool (documents,) bool, best first, ties by the lower place.

        The sparse view alone does not return documents without a shared term, nor ColBERT those without a score.
        """
        if self.fusion == "weights":
            sums = np.zeros(len(pool), np.float32)
            for view in self.views:
                if weights[view]:
                    sums += np.float32(weights[view]) * scores[view]
            return top_k(sums, depth, alive=pool & (sums > -np.inf))[0]
        rankings = [_ranking(view, scores[view], pool) for view in self.views]
        return (rrf(rankings)[0] if self.fusion == "rrf" else rankings[0])[:depth]


MODES: Mapping[str, RankingMode] = {
    "dense": RankingMode(("dense",)),
    "sparse": RankingMode(("sparse",)),
    "colbert": RankingMode(("colbert",)),
    "dense+sparse": RankingMode(("dense", "sparse"), "weights"),
    "dense+sparse rrf": RankingMode(("dense", "sparse"), "rrf"),
    "all": RankingMode(VIEWS, "weights"),
    "all rrf": RankingMode(VIEWS, "rrf"),
}


def _ranking(view: str, scores: NDArray[np.float32], pool: NDArray[np.bool_]) -> NDArray[np.int64]:
    floor = 0 if view == "sparse" else -np.inf
    return top_k(scores, _FUSED_DOCUMENTS, alive=pool & (scores > floor))[0]
