"""evaluate(): a bundle's measures on a task, in every mode that its heads allow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings import WEIGHTS
from ..encoder import M3Encoder, Progress
from .bm25 import bm25
from .measures import MAIN, MEASURES, measure
from .modes import MODES
from .pools import Task
from .views import CANDIDATES, Views, embed

BM25 = "bm25"
Values = Mapping[str, NDArray[np.float64]]  # of each measure, (queries,)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Measures of each query by mode, and the conditions: counts, seconds, and how ColBERT was scored."""

    task: Task
    modes: Mapping[str, Values]
    conditions: Mapping[str, Any]

    def mean(self, mode: str, name: str = MAIN) -> float:
        """A measure of a mode, over all queries."""
        return float(self.modes[mode][name].mean())

    def by_language(self, mode: str) -> dict[str, float]:
        """nDCG@10 of a mode by the queries' language, where the data set gives more than one."""
        langs = np.array([lang or "" for lang in self.task.data.queries.langs])
        known = sorted({*langs.tolist()})
        return {lang: float(self.modes[mode][MAIN][langs == lang].mean()) for lang in known} if len(known) > 1 else {}

    def to_json(self) -> dict[str, Any]:
        """Means and conditions, without the single queries."""
        modes = {
            mode: {name: self.mean(mode, name) for name in MEASURES}
            | ({"by_language": languages} if (languages := self.by_language(mode)) else {})
            for mode in self.modes
        }
        return {"dataset": self.task.data.name, **self.conditions, "modes": modes}


def evaluate(
    encoder: M3Encoder,
    task: Task,
    *,
    weights: Mapping[str, float] = WEIGHTS,
    words: bool = False,
    progress: Progress = lambda texts, tokens: None,
) -> Evaluation:
    """Rank a task's documents for its queries in every mode, exactly, and measure the rankings.

    weights: of the views in weighted sums. words: rank by BM25 too. progress: called with the texts and tokens of
    each forward pass. ColBERT scores all documents where they are few enough, else the best 200 of dense+sparse.
    Raises InputError when a package of the extra `eval` is not installed.
    """
    start = time.perf_counter()
    views = embed(encoder, task, progress)
    embedded = time.perf_counter()
    modes = ranked(views, task, weights)
    if words:
        modes[BM25] = measure(task.data.relevant, bm25(task))
    return Evaluation(task, modes, _conditions(views, embedded - start, time.perf_counter() - embedded))


def ranked(views: Views, task: Task, weights: Mapping[str, float]) -> dict[str, Values]:
    """The measures of every mode whose views there are."""
    rankings: dict[str, list[NDArray[np.int64]]] = {}
    for scores, pool in zip(views.each(), task.candidates(), strict=True):
        for name, mode in MODES.items():
            if {*mode.views} <= {*scores}:
                rankings.setdefault(name, []).append(mode.rank(scores, pool, weights))
    return {name: measure(task.data.relevant, found) for name, found in rankings.items()}


def _conditions(views: Views, embedding: float, ranking: float) -> dict[str, Any]:
    tokens = int(views.queries.n_tokens.sum() + views.corpus.n_tokens.sum())
    colbert = "all documents" if views.corpus.multi is not None else f"best {CANDIDATES} of dense+sparse"
    return {
        "documents": len(views.corpus),
        "queries": len(views.queries),
        "truncated": int(views.corpus.truncated.sum() + views.queries.truncated.sum()),
        "tokens": tokens,
        "embedding_s": round(embedding, 3),
        "tokens_per_s": round(tokens / max(embedding, 1e-9)),
        "ranking_s": round(ranking, 3),
        **({"colbert": colbert} if views.queries.multi is not None else {}),
    }
