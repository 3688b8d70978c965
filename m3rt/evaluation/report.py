"""Evaluations as tables for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .bootstrap import Difference, difference
from .evaluate import BM25, Evaluation
from .measures import MAIN, MEASURES

_SINGLE = ("dense", "sparse", "colbert")
_WIDE = 17

Evaluations = Sequence[Evaluation]  # of one bundle, one for each data set


def conditions(one: Evaluation) -> str:
    """One line: what was measured, and how long it took."""
    c = one.conditions
    facts = [
        f"{c['documents']:,} documents",
        f"{c['queries']:,} queries",
        f"{c['tokens']:,} tokens in {c['embedding_s']:.1f} s ({c['tokens_per_s']:,} a second)",
        f"ranked in {c['ranking_s']:.1f} s",
        f"{c['truncated']:,} texts truncated" if c["truncated"] else "none truncated",
    ]
    if "colbert" in c:
        facts.append(f"colbert of {c['colbert']}")
    return f"{one.task.data.name}: {', '.join(facts)}"


def table(ones: Evaluations, others: Evaluations | None = None) -> list[str]:
    """Lines of modes by measure, means over data sets; beside them nDCG@10 of others, and the difference and interval.

    `others` are evaluations of another bundle on the same tasks. Modes that only some of them have are left out.
    """
    versus = f"{'against':>10}  difference [95% interval]" if others else ""
    lines = [f"{'mode':<{_WIDE}}" + "".join(f"{name:>12}" for name in MEASURES) + versus]
    for mode in modes(ones):
        values = (f"{np.mean([one.mean(mode, name) for one in ones]):>12.4f}" for name in MEASURES)
        line = f"{mode:<{_WIDE}}" + "".join(values)
        if others and mode in modes(others) and mode != BM25:
            line += f"{np.mean([other.mean(mode) for other in others]):>10.4f}  {_gap(ones, others, mode)}"
        lines.append(line)
    return [*lines, *(f"{name}: {gap}" for name, gap in gains(ones).items())]


def languages(one: Evaluation) -> list[str]:
    """Lines of nDCG@10 by the queries' language and mode; none where there is one language."""
    columns = {mode: one.by_language(mode) for mode in one.modes}
    if not any(columns.values()):
        return []
    rows = [f"{MAIN:<{_WIDE}}" + "".join(f"{mode:>{max(8, len(mode) + 2)}}" for mode in columns)]
    for lang in next(iter(columns.values())):
        cells = (f"{found[lang]:>{max(8, len(mode) + 2)}.4f}" for mode, found in columns.items())
        rows.append(f"{lang or '(none)':<{_WIDE}}" + "".join(cells))
    return rows


def gains(ones: Evaluations) -> dict[str, Difference]:
    """How much all views together gain over the best single one, and the best that there is over BM25, in nDCG@10."""
    found = modes(ones)
    single = max((mode for mode in _SINGLE if mode in found), key=lambda mode: np.mean([o.mean(mode) for o in ones]))
    pairs = [("all", single)] * ("all" in found) + [("all" if "all" in found else single, BM25)] * (BM25 in found)
    return {
        f"{better} over {worse}": difference(
            [one.modes[better][MAIN] for one in ones], [one.modes[worse][MAIN] for one in ones]
        )
        for better, worse in pairs
    }


def to_json(ones: Evaluations, others: Evaluations | None = None) -> dict[str, Any]:
    """All of it as JSON has it: each data set, and the means over them."""
    return {
        "datasets": [_entry([one], other) for one, other in zip(ones, _each(others, len(ones)), strict=True)],
        "mean": _entry(ones, others),
    }


def modes(ones: Evaluations) -> list[str]:
    """The modes that every evaluation has, BM25 first."""
    shared = [mode for mode in ones[0].modes if all(mode in one.modes for one in ones)]
    return sorted(shared, key=lambda mode: mode != BM25)


def _entry(ones: Evaluations, others: Evaluations | None) -> dict[str, Any]:
    if len(ones) == 1:
        entry = ones[0].to_json()
    else:
        entry = {"modes": {m: {n: float(np.mean([o.mean(m, n) for o in ones])) for n in MEASURES} for m in modes(ones)}}
    entry["gains"] = {name: asdict(gap) for name, gap in gains(ones).items()}
    if others:
        for mode in modes(ones):
            if mode in modes(others) and mode != BM25:
                against = float(np.mean([other.mean(mode) for other in others]))
                gap: Mapping[str, float] = asdict(_gap(ones, others, mode))
                entry["modes"][mode] |= {"against": against, "difference": gap}
    return entry


def _each(others: Evaluations | None, n: int) -> list[list[Evaluation] | None]:
    return [[other] for other in others] if others else [None] * n


def _gap(ones: Evaluations, others: Evaluations, mode: str) -> Difference:
    return difference([one.modes[mode][MAIN] for one in ones], [other.modes[mode][MAIN] for other in others])
