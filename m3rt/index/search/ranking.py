"""Ranking: candidates, fusion, reranking. It works on rows and arrays, and knows no texts and no models."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from m3rt_kernels import rrf
from numpy.typing import NDArray

from ..store.rows import RowMask, ScoredRows
from ..store.snapshot import Snapshot
from .options import Options
from .query import QueryViews

Weights = Mapping[str, float] | None  # of each view; None: reciprocal rank fusion


@dataclass(frozen=True, slots=True, eq=False)
class RankedRows:
    """Rows, best first, their scores, and their scores by each view."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    by_view: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def take(self, places: NDArray[np.int64]) -> RankedRows:
        """The rows at `places`, in that order."""
        return RankedRows(self.rows[places], self.scores[places], {v: s[places] for v, s in self.by_view.items()})


class Clock:
    """Measures the seconds of each stage."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last lap to `stage`."""
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        """The stages and their total."""
        return {**self._seconds, "total": time.perf_counter() - self._start}


def rank(snapshot: Snapshot, query: QueryViews, options: Options, clock: Clock) -> RankedRows:
    """The best `options.k` documents, each by its best chunk; or the best chunks, where these are wanted."""
    masks = snapshot.masks(options.filter)
    depth = max(options.k, options.candidates if options.mode == "hybrid" else 0)
    while True:
        found = _ranked(snapshot, query, options, depth, masks, clock)
        first = np.arange(len(found.rows)) if options.chunks else _fold(snapshot, found.rows)
        if len(first) >= options.k or len(found.rows) < depth:
            return found.take(first[: options.k])
        depth *= 4  # chunks of a few documents left no room for other documents


def _fold(snapshot: Snapshot, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each document's first row, in order."""
    if snapshot.manifest.settings.chunk_tokens is None:
        return np.arange(len(rows))
    _, first = np.unique(np.array(snapshot.keys(rows), np.uint64), return_index=True)
    return np.sort(first)


def _ranked(
    snapshot: Snapshot, query: QueryViews, options: Options, depth: int, masks: Sequence[RowMask], clock: Clock
) -> RankedRows:
    views = options.views(snapshot.manifest.settings)
    first = [view for view in views if view != "colbert"] or views
    found: dict[str, ScoredRows] = {}
    for view in first:
        found[view] = snapshot.search(query[view].find, depth, masks)
        clock.lap(view)
    if len(views) == 1:
        rows, scores = found[views[0]]
        return RankedRows(rows, scores.astype(np.float64), {views[0]: scores})
    weights = options.weights
    # Weights for ColBERT alone cannot choose candidates, so ranks choose them.
    usable = weights if weights and any(weights[view] for view in first) else None
    fused = _fused(snapshot, query, found, usable, depth)
    clock.lap("fuse")
    if first != views:
        fused = _reranked(snapshot, query, fused, found, weights)
        clock.lap("colbert")
    return fused


def _fused(
    snapshot: Snapshot, query: QueryViews, found: Mapping[str, ScoredRows], weights: Weights, depth: int
) -> RankedRows:
    """The best `depth` of the rows that any first-stage view returned, each with its score by every such view."""
    if weights is None:
        rows, scores = rrf([rows for rows, _ in found.values()])
        order = snapshot.sorted(rows, scores)[:depth]
        rows, scores = rows[order], scores[order]
        return RankedRows(rows, scores, {v: _completed(snapshot, query, v, rows, found[v]) for v in found})
    rows = np.unique(np.concatenate([rows for rows, _ in found.values()]))
    by_view = {v: _completed(snapshot, query, v, rows, found[v]) for v in found}
    return _by_weights(snapshot, rows, by_view, weights).take(np.arange(min(depth, len(rows))))


def _reranked(
    snapshot: Snapshot, query: QueryViews, fused: RankedRows, found: Mapping[str, ScoredRows], weights: Weights
) -> RankedRows:
    """The rows of `fused`, ranked by all three views."""
    colbert = snapshot.scores(query["colbert"].score, fused.rows)
    by_view = {**fused.by_view, "colbert": colbert}
    if weights is not None:
        return _by_weights(snapshot, fused.rows, by_view, weights)
    best = fused.rows[snapshot.sorted(fused.rows, colbert)]
    rows, scores = rrf([*(rows for rows, _ in found.values()), best])
    order = snapshot.sorted(rows, scores)
    rows, scores = rows[order], scores[order]
    places = _places(fused.rows, rows)
    kept = places >= 0  # rows that the first stage cut off stay out
    by_view = {view: values[places[kept]] for view, values in by_view.items()}
    return RankedRows(rows[kept], scores[kept], by_view)


def _by_weights(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    by_view: Mapping[str, NDArray[np.float32]],
    weights: Mapping[str, float],
) -> RankedRows:
    """Rows ranked by the weighted mean of their scores."""
    total = sum(weights[view] for view in by_view)
    sums = sum((weights[view] * scores.astype(np.float64) for view, scores in by_view.items()), np.zeros(len(rows)))
    return RankedRows(rows, sums / total, by_view).take(snapshot.sorted(rows, sums))


def _completed(
    snapshot: Snapshot, query: QueryViews, view: str, rows: NDArray[np.int64], found: ScoredRows
) -> NDArray[np.float32]:
    """The scores of `rows` by `view`, computed now where the search did not return them."""
    places = _places(rows, found[0])
    scores = np.full(len(rows), np.nan, np.float32)
    scores[places[places >= 0]] = found[1][places >= 0]
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        scores[missing] = snapshot.scores(query[view].score, rows[missing])
    return scores


def _places(rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each of `wanted` in `rows`, which are distinct; -1 for a row that is not there."""
    if not len(rows):
        return np.full(len(wanted), -1)
    order = np.argsort(rows)
    places = order[np.minimum(np.searchsorted(rows, wanted, sorter=order), len(rows) - 1)]
    return np.where(rows[places] == wanted, places, -1)
