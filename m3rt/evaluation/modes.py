"""The ways to rank: each view alone, and their fusions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from m3rt_kernels import rrf, top_k
from numpy.typing import NDArray

from ..embeddings import VIEWS, WEIGHTS

DEPTH = 100  # documents of a ranking that are measured
_FUSED = 1000  # of each view that reciprocal rank fusion looks at, as the paper does

Scores = Mapping[str, NDArray[np.float32]]  # of each view, (documents,); -inf where it was not computed


@dataclass(frozen=True, slots=True)
class Mode:
    """Views, and how several become one ranking."""

    views: tuple[str, ...]
    fusion: Literal["none", "weights", "rrf"] = "none"

    def rank(
        self, scores: Scores, pool: NDArray[np.bool_], weights: Mapping[str, float] = WEIGHTS, *, depth: int = DEPTH
    ) -> NDArray[np.int64]:
        """The best `depth` documents of the pool (documents,) bool, best first, ties by the lower place.

        A document without a shared term is not found by the sparse view, one without a ColBERT score by that view.
        """
        if self.fusion == "weights":
            sums = np.zeros(len(pool), np.float32)
            for view in self.views:
                if weights[view]:
                    sums += np.float32(weights[view]) * scores[view]
            return top_k(sums, depth, alive=pool & (sums > -np.inf))[0]
        found = [_found(view, scores[view], pool) for view in self.views]
        return (rrf(found)[0] if self.fusion == "rrf" else found[0])[:depth]


MODES: Mapping[str, Mode] = {
    "dense": Mode(("dense",)),
    "sparse": Mode(("sparse",)),
    "colbert": Mode(("colbert",)),
    "dense+sparse": Mode(("dense", "sparse"), "weights"),
    "dense+sparse rrf": Mode(("dense", "sparse"), "rrf"),
    "all": Mode(VIEWS, "weights"),
    "all rrf": Mode(VIEWS, "rrf"),
}


def _found(view: str, scores: NDArray[np.float32], pool: NDArray[np.bool_]) -> NDArray[np.int64]:
    least = 0 if view == "sparse" else -np.inf
    return top_k(scores, _FUSED, alive=pool & (scores > least))[0]
