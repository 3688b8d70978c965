"""The three views of a text as an index searches them: a table, since all else treats them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lexical import sparse_scores, sparse_search
from .query import Query
from .segment import Segment
from .vectors import Alive, Found, colbert_scores, colbert_search, dense_scores, dense_search


class View(NamedTuple):
    """The k best rows of a segment for a query, and the scores of given rows."""

    find: Callable[[Query, Segment, int, Alive], Found]
    score: Callable[[Query, Segment, NDArray[np.int64]], NDArray[np.float32]]


VIEWS: dict[str, View] = {
    "dense": View(
        lambda q, s, k, alive: dense_search(s.arrays, q.dense, k, alive),  # type: ignore[arg-type]
        lambda q, s, rows: dense_scores(s.arrays, q.dense, rows),  # type: ignore[arg-type]
    ),
    "sparse": View(
        lambda q, s, k, alive: sparse_search(s.inverted, q.sparse, k, alive),  # type: ignore[arg-type]
        lambda q, s, rows: sparse_scores(s.arrays, q.sparse, rows),  # type: ignore[arg-type]
    ),
    "colbert": View(
        lambda q, s, k, alive: colbert_search(s.arrays, q.colbert, k, alive),  # type: ignore[arg-type]
        lambda q, s, rows: colbert_scores(s.arrays, q.colbert, rows),  # type: ignore[arg-type]
    ),
}
