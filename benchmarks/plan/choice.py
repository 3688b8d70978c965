"""Whether the choice of m3rt plan --data holds on queries that it has not seen.

    python -m benchmarks.plan.choice DATASET... [--model m3-tiny] [--queries 400] [--splits 20] [--out PREFIX]

A DATASET is what m3rt eval reads. Everything that could be stored is measured once. Then the queries are split in
halves, at random and --splits times: the choice is made on one half, and judged on the other half beside the choice
that is the best there, which nobody could know. The points of nDCG@10 that it is below are regret. "regret of the best"
is the same for what scores best on the first half, whatever its size.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rt import M3Encoder
from m3rt.evaluation import read_dataset, task
from m3rt.plan import Measured, best_choice, measure_choices

from ..common import add_threads, options, regime, report, table, write_results

Chooser = Callable[[Sequence[Measured]], Measured]


def main() -> None:
    args = _arguments()
    encoder = M3Encoder(args.model, threads=args.threads)
    rows = []
    for path in args.datasets:
        each = task(read_dataset(path), max_queries=args.queries)
        measured = measure_choices(encoder, each)
        rows.append({"data set": each.data.name, "documents": len(each.data.corpus), **_row(measured, args.splits)})
    conditions = regime(model=args.model, splits=args.splits)
    report("Choices on unseen queries", rows, conditions)
    if args.out:
        facts = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
        page = f"# Choices on unseen queries\n\n{table(rows)}\n\n{facts}"
        write_results(args.out, page, {"conditions": conditions, "rows": rows})


def _row(measured: Sequence[Measured], splits: int) -> dict[str, Any]:
    chosen, best = best_choice(measured), max(measured, key=_ndcg)
    regret = _regrets(measured, best_choice, splits)
    return {
        "queries": len(chosen.ndcg),
        "choices": len(measured),
        "chosen on all": str(chosen.choice),
        "bytes": f"{chosen.bytes:,.0f}",
        "below the best": f"{100 * (_ndcg(best) - _ndcg(chosen)):.2f}",
        "best": str(best.choice),
        "bytes of the best": f"{best.bytes:,.0f}",
        "regret": f"{regret.mean():.2f}",
        "p90": f"{np.percentile(regret, 90):.2f}",
        "regret of the best": f"{_regrets(measured, lambda rows: max(rows, key=_ndcg), splits).mean():.2f}",
    }


def _regrets(measured: Sequence[Measured], choose: Chooser, splits: int) -> NDArray[np.float64]:
    """Points of nDCG@10 below the best on one half of the queries, for what is chosen on the other: (splits,)."""
    found = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(measured[0].ndcg))
        seen, unseen = np.array_split(order, 2)
        chosen = choose([replace(m, ndcg=m.ndcg[seen]) for m in measured]).choice
        scores = {m.choice: m.ndcg[unseen].mean() for m in measured}
        found.append(100 * (max(scores.values()) - scores[chosen]))
    return np.array(found)


def _ndcg(m: Measured) -> float:
    return float(m.ndcg.mean())


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET")
    parser.add_argument("--model", default="m3-tiny")
    parser.add_argument("--queries", type=int, default=400, help="drawn of each data set")
    parser.add_argument("--splits", type=int, default=20)
    add_threads(parser)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
