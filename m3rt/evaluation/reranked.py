"""The last stage, measured: a reranker reads each query with the best documents of a fused ranking and orders them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..values.arguments import whole_number
from .modes import DEPTH
from .pools import Task

if TYPE_CHECKING:
    from ..encoder import Progress
    from ..reranker import M3Reranker

RERANKED = "reranked"  # name of the mode
_FIRST_STAGES = ("all", "dense+sparse", "dense")  # the mode of the most views that a model has goes first

Rankings = Sequence[NDArray[np.int64]]  # of each query: documents, best first


@dataclass(frozen=True, slots=True)
class LastStage:
    """A reranker, and how many of the best documents it reads with a query: 1..100.

    Raises InputError for another number, and for a model of several labels.
    """

    reranker: M3Reranker
    candidates: int = 30

    def __post_init__(self) -> None:
        whole_number("rerank_candidates", self.candidates, 1, DEPTH)
        self.reranker.rank("", [])

    def rank(
        self, task: Task, rankings: Mapping[str, Rankings], progress: Progress
    ) -> tuple[list[NDArray[np.int64]], dict[str, Any]]:
        """The rankings of the fused mode, of each the best documents in the reranker's order; and the conditions.

        rankings: by mode. Documents that the reranker did not read follow in the order that they had. progress: called
        as by evaluate(). Raises EngineError.
        """
        mode = first_stage(rankings)
        texts = task.data.corpus.texts
        found, seconds, cut = [], [], 0
        for query, ranking in zip(task.data.queries.texts, rankings[mode], strict=True):
            best = ranking[: self.candidates]
            start = time.perf_counter()
            ranked = self.reranker.rank(query, [texts[document] for document in best], show_progress=progress)
            seconds.append(time.perf_counter() - start)
            order = np.fromiter((place.index for place in ranked), np.int64, len(ranked))
            found.append(np.concatenate([best[order], ranking[self.candidates :]]))
            cut += sum(place.truncated for place in ranked)
        p50, p95 = np.percentile(seconds, [50, 95]).tolist()
        return found, {
            RERANKED: f"best {self.candidates} of {mode}",
            "rerank_s": {"p50": round(p50, 4), "p95": round(p95, 4)},
            "cut_pairs": cut,
        }


def first_stage(modes: Mapping[str, object] | Sequence[str]) -> str:
    """The mode whose best documents are reranked: the one of the most views."""
    return next(mode for mode in _FIRST_STAGES if mode in modes)
