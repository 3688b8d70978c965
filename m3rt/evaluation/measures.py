"""Measures of rankings, computed by trec_eval through ir-measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..host.extras import need
from .dataset import Grades

MAIN = "nDCG@10"
MEASURES = {MAIN: "nDCG@10", "Recall@100": "R@100", "MRR@10": "RR@10"}  # name -> ir-measures' name


def measure(
    relevant: Sequence[Grades], rankings: Sequence[NDArray[np.int64]], names: Sequence[str] = tuple(MEASURES)
) -> dict[str, NDArray[np.float64]]:
    """Compute each measure (queries,) of rankings, which are best first.

    Raises InputError when ir-measures is not installed.
    """
    need("eval", "ir_measures")
    import ir_measures

    measures = {ir_measures.parse_measure(MEASURES[name]): name for name in names}
    qrels = {str(q): {str(d): grade for d, grade in grades.items()} for q, grades in enumerate(relevant)}
    # trec_eval sorts by score and breaks ties by id: falling scores without ties keep the order of the ranking.
    run = {
        str(q): {str(d): float(len(ranking) - place) for place, d in enumerate(ranking.tolist())}
        for q, ranking in enumerate(rankings)
    }
    values = {name: np.zeros(len(relevant)) for name in names}
    for metric in ir_measures.iter_calc(list(measures), qrels, run):
        values[measures[metric.measure]][int(metric.query_id)] = metric.value
    return values
