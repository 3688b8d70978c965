"""Evaluations as tables for people, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..embeddings import VIEWS
from ..values.counts import counted
from .bootstrap import Difference, difference
from .evaluate import BM25, Evaluation
from .measures import MAIN, MEASURES
from .reranked import RERANKED, first_stage

_MODE_WIDTH = 17  # characters

Evaluations = Sequence[Evaluation]  # of one bundle, on one data set each


def conditions(evaluation: Evaluation) -> str:
    """Describe in one line the texts that were measured and the time that it took."""
    c = evaluation.conditions
    facts = [
        counted(c["documents"], "document"),
        counted(c["queries"], "query", "queries"),
        f"{counted(c['tokens'], 'token')} in {c['embedding_s']:.1f} s ({c['tokens_per_s']:,} a second)",
        f"ranked in {c['ranking_s']:.1f} s",
        f"{counted(c['truncated'], 'text')} truncated" if c["truncated"] else "none truncated",
    ]
    if "colbert" in c:
        facts.append(f"colbert of {c['colbert']}")
    if RERANKED in c:
        facts.append(
            f"reranked: {c[RERANKED]}, {c['rerank_s']['p50']:.3g} s a query (p95 {c['rerank_s']['p95']:.3g} s), "
            + (f"{counted(c['cut_pairs'], 'pair')} truncated" if c["cut_pairs"] else "no pair truncated")
        )
    return f"{evaluation.task.data.name}: {', '.join(facts)}"


def table(evaluations: Evaluations, references: Evaluations | None = None) -> list[str]:
    """Return a line for each mode: its measures, as means over data sets, and where there are references theirs beside.

    references: evaluations of another bundle on the same tasks, shown by nDCG@10 and the difference with its interval.
    Modes that only some evaluations have are left out.
    """
    versus = f"{'against':>10}  difference [95% interval]" if references else ""
    lines = [f"{'mode':<{_MODE_WIDTH}}" + "".join(f"{name:>12}" for name in MEASURES) + versus]
    for mode in modes(evaluations):
        values = (f"{np.mean([e.mean(mode, name) for e in evaluations]):>12.4f}" for name in MEASURES)
        line = f"{mode:<{_MODE_WIDTH}}" + "".join(values)
        if references and mode in modes(references) and mode != BM25:
            line += f"{np.mean([r.mean(mode) for r in references]):>10.4f}  {_gap(evaluations, references, mode)}"
        lines.append(line)
    return [*lines, *(f"{name}: {gap}" for name, gap in gains(evaluations).items())]


def languages(evaluation: Evaluation) -> list[str]:
    """Return a table of nDCG@10 by the queries' language and by mode; [] where there is only one language."""
    columns = {mode: evaluation.by_language(mode) for mode in evaluation.modes}
    if not any(columns.values()):
        return []
    rows = [f"{MAIN:<{_MODE_WIDTH}}" + "".join(f"{mode:>{max(8, len(mode) + 2)}}" for mode in columns)]
    for lang in next(iter(columns.values())):
        cells = (f"{values[lang]:>{max(8, len(mode) + 2)}.4f}" for mode, values in columns.items())
        rows.append(f"{lang or '(none)':<{_MODE_WIDTH}}" + "".join(cells))
    return rows


def gains(evaluations: Evaluations) -> dict[str, Difference]:
    """Return the gains in nDCG@10: of all views over the best single view, of all views, or that one, over BM25.

    Where a reranker had the last word, its gain over the mode whose best documents it read stands there too.
    """
    names = modes(evaluations)
    single = max((v for v in VIEWS if v in names), key=lambda view: np.mean([e.mean(view) for e in evaluations]))
    pairs = [("all", single)] * ("all" in names) + [("all" if "all" in names else single, BM25)] * (BM25 in names)
    pairs += [(RERANKED, first_stage(names))] * (RERANKED in names)
    return {
        f"{better} over {worse}": difference(
            [e.modes[better][MAIN] for e in evaluations], [e.modes[worse][MAIN] for e in evaluations]
        )
        for better, worse in pairs
    }


def to_json(evaluations: Evaluations, references: Evaluations | None = None) -> dict[str, Any]:
    """Return the numbers of each data set, and the means over them."""
    return {
        "datasets": [_entry([e], r) for e, r in zip(evaluations, _each(references, len(evaluations)), strict=True)],
        "mean": _entry(evaluations, references),
    }


def modes(evaluations: Evaluations) -> list[str]:
    """Return the modes that every evaluation has, BM25 first."""
    shared = [mode for mode in evaluations[0].modes if all(mode in e.modes for e in evaluations)]
    return sorted(shared, key=lambda mode: mode != BM25)


def _entry(evaluations: Evaluations, references: Evaluations | None) -> dict[str, Any]:
    if len(evaluations) == 1:
        entry = evaluations[0].to_json()
    else:
        entry = {"modes": {mode: _means(evaluations, mode) for mode in modes(evaluations)}}
    entry["gains"] = {name: asdict(gap) for name, gap in gains(evaluations).items()}
    if references:
        for mode in modes(evaluations):
            if mode in modes(references) and mode != BM25:
                against = float(np.mean([r.mean(mode) for r in references]))
                gap: Mapping[str, float] = asdict(_gap(evaluations, references, mode))
                entry["modes"][mode] |= {"against": against, "difference": gap}
    return entry


def _means(evaluations: Evaluations, mode: str) -> dict[str, float]:
    return {name: float(np.mean([e.mean(mode, name) for e in evaluations])) for name in MEASURES}


def _each(references: Evaluations | None, n: int) -> list[list[Evaluation] | None]:
    return [[reference] for reference in references] if references else [None] * n


def _gap(evaluations: Evaluations, references: Evaluations, mode: str) -> Difference:
    return difference([e.modes[mode][MAIN] for e in evaluations], [r.modes[mode][MAIN] for r in references])
