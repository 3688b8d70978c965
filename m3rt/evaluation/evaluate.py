"""evaluate(): measures a bundle on a task, in every mode that its heads allow."""

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
from .reranked import RERANKED, LastStage
from .views import CANDIDATES, EmbeddedTask, embed

BM25 = "bm25"
Values = Mapping[str, NDArray[np.float64]]  # by measure, (queries,)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The measures of each query by mode, and the conditions: counts, seconds, and how ColBERT was scored."""

    task: Task
    modes: Mapping[str, Values]
    conditions: Mapping[str, Any]

    def mean(self, mode: str, name: str = MAIN) -> float:
        """Average a measure of a mode over all queries."""
        return float(self.modes[mode][name].mean())

    def by_language(self, mode: str) -> dict[str, float]:
        """Average nDCG@10 of a mode by the queries' language; {} where the data set has only one."""
        langs = np.array([lang or "" for lang in self.task.data.queries.langs])
        known = sorted({*langs.tolist()})
        return {lang: float(self.modes[mode][MAIN][langs == lang].mean()) for lang in known} if len(known) > 1 else {}

    def to_json(self) -> dict[str, Any]:
        """Return means and conditions, without the values of single queries."""
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
    last_stage: LastStage | None = None,
    progress: Progress = lambda texts, tokens: None,
) -> Evaluation:
    """Rank a task's documents for its queries in every mode, exactly, and measure the rankings.

    weights: of each view in weighted sums. words: rank by BM25 too. last_stage: a reranker that orders the best
    documents of all views, as a mode of its own. progress: called with the number of texts (then of the reranker's
    pairs) and tokens of each forward pass. ColBERT scores all documents if they are few enough, else the best 200 of
    dense+sparse.
    Raises InputError when a package of the extra `eval` is not installed.
    """
    start = time.perf_counter()
    embedded = embed(encoder, task, progress)
    embedded_at = time.perf_counter()
    rankings = ranked(embedded, task, weights)
    if words:
        rankings[BM25] = bm25(task)
    conditions = _conditions(embedded, embedded_at - start, time.perf_counter() - embedded_at)
    if last_stage is not None:
        rankings[RERANKED], facts = last_stage.rank(task, rankings, progress)
        conditions |= facts
    modes = {name: measure(task.data.relevant, ranking) for name, ranking in rankings.items()}
    return Evaluation(task, modes, conditions)


def ranked(embedded: EmbeddedTask, task: Task, weights: Mapping[str, float]) -> dict[str, list[NDArray[np.int64]]]:
    """The documents of each query, best first, by every mode whose views have scores."""
    rankings: dict[str, list[NDArray[np.int64]]] = {}
    for scores, pool in zip(embedded.each(), task.candidates(), strict=True):
        for name, mode in MODES.items():
            if {*mode.views} <= {*scores}:
                rankings.setdefault(name, []).append(mode.rank(scores, pool, weights))
    return rankings


def _conditions(embedded: EmbeddedTask, embedding: float, ranking: float) -> dict[str, Any]:
    tokens = int(embedded.queries.n_tokens.sum() + embedded.corpus.n_tokens.sum())
    colbert = "all documents" if embedded.corpus.multi is not None else f"best {CANDIDATES} of dense+sparse"
    return {
        "documents": len(embedded.corpus),
        "queries": len(embedded.queries),
        "truncated": int(embedded.corpus.truncated.sum() + embedded.queries.truncated.sum()),
        "tokens": tokens,
        "embedding_s": round(embedding, 3),
        "tokens_per_s": round(tokens / max(embedding, 1e-9)),
        "ranking_s": round(ranking, 3),
        **({"colbert": colbert} if embedded.queries.multi is not None else {}),
    }
