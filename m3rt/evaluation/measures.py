"""Measures of rankings, by trec_eval through ir-measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..host.extras import need
from .dataset import Relevant

MAIN = "nDCG@10"
MEASURES = {MAIN: "nDCG@10", "Recall@100": "R@100", "MRR@10": "RR@10"}  # and their names in ir-measures


def measure(
    relevant: Sequence[Relevant], rankings: Sequence[NDArray[np.int64]], names: Sequence[str] = tuple(MEASURES)
) -> dict[str, NDArray[np.float64]]:
    """Each measure of each query, (queries,), of rankings best first.

    Raises InputError when ir-measures is not installed.
    """
    need("eval", "ir_measures")
    import ir_measures

    measures = {ir_measures.parse_measure(MEASURES[name]): name for name in names}
    qrels = {str(q): {str(d): grade for d, grade in found.items()} for q, found in enumerate(relevant)}
    # trec_eval sorts by score and breaks ties by id: falling numbers keep the order that is measured.
    run = {
        str(q): {str(d): float(len(ranking) - place) for place, d in enumerate(ranking.tolist())}
        for q, ranking in enumerate(rankings)
    }
    values = {name: np.zeros(len(relevant)) for name in names}
    for found in ir_measures.iter_calc(list(measures), qrels, run):
        values[measures[found.measure]][int(found.query_id)] = found.value
    return values
