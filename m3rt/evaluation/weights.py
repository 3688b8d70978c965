"""Fusion weights for a data set, chosen by a search over a grid."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from ..embeddings import VIEWS, WEIGHTS
from ..errors import InputError
from .measures import MAIN, measure
from .modes import MODES
from .pools import Task
from .views import EmbeddedTask

_GRID = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)  # weights of sparse and of ColBERT; dense has 1
_DEPTH = 10  # documents: nDCG@10 sees no more


def tune(embedded: EmbeddedTask, task: Task) -> tuple[dict[str, float], float, float]:
    """Return the weights with the highest mean nDCG@10, that value, and the value of the default weights.

    dense weighs 1; of equal weights those with the lowest sparse and then the lowest ColBERT weight win. nDCG@10 on the
    same queries flatters the weights: use them on other queries. Raises InputError for a model without three views.
    """
    scores, mode = list(embedded.each()), MODES["all"]
    if not {*mode.views} <= {*scores[0]}:
        raise InputError("fusion weights need dense, sparse and ColBERT outputs, and this bundle is dense only")
    grid = [dict(zip(VIEWS, (1.0, *rest), strict=True)) for rest in product(_GRID, repeat=2)]

    def quality(weights: Mapping[str, float]) -> float:
        pools = task.candidates()
        rankings = [mode.rank(s, pool, weights, depth=_DEPTH) for s, pool in zip(scores, pools, strict=True)]
        return float(measure(task.data.relevant, rankings, [MAIN])[MAIN].mean())

    values = [quality(weights) for weights in grid]
    best = int(np.argmax(values))
    return grid[best], values[best], quality(WEIGHTS)
