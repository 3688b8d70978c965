"""Fusion weights that suit a data set, found on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from ..embeddings import VIEWS, WEIGHTS
from ..errors import InputError
from .measures import MAIN, measure
from .modes import MODES
from .pools import Task
from .views import Views

_GRID = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)  # of sparse and ColBERT beside dense 1
_DEPTH = 10


def tune(views: Views, task: Task) -> tuple[dict[str, float], float, float]:
    """Weights of the three views with the highest mean nDCG@10; that, and the default weights' beside it.

    dense weighs 1; the first of equals, by ascending sparse and then ColBERT weight, is taken. A measure on the same
    queries flatters: use the weights on others. Raises InputError for a model without the three views.
    """
    scores, mode = list(views.each()), MODES["all"]
    if not {*mode.views} <= {*scores[0]}:
        raise InputError("fusion weights need dense, sparse and ColBERT outputs, and this bundle is dense only")
    grid = [dict(zip(VIEWS, (1.0, *rest), strict=True)) for rest in product(_GRID, repeat=2)]

    def quality(weights: Mapping[str, float]) -> float:
        found = [mode.rank(s, pool, weights, depth=_DEPTH) for s, pool in zip(scores, task.candidates(), strict=True)]
        return float(measure(task.data.relevant, found, [MAIN])[MAIN].mean())

    values = [quality(weights) for weights in grid]
    best = int(np.argmax(values))
    return grid[best], values[best], quality(WEIGHTS)
