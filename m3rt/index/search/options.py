"""How to search: every option, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from ...embeddings import VIEWS, WEIGHTS
from ...errors import InputError
from ...values.arguments import choice_of, flag, mapping_of, whole_number
from ...values.shown import a_kind, shown
from ..choices import MODES, SearchMode
from ..store.facets import Filter, Scalar, simple
from ..store.manifest import Settings

if TYPE_CHECKING:
    from ...reranker import M3Reranker

RERANKED = 30  # documents that a reranker reads: its seconds grow with them
FUSION = tuple(WEIGHTS.values())
MOST_HITS = 1 << 20  # also the most candidates


@dataclass(frozen=True, slots=True)
class Options:
    """How to search; see HybridIndex.search."""

    k: int = 10
    mode: SearchMode = "hybrid"
    fusion: Literal["rrf"] | Sequence[float] = FUSION
    candidates: int = 100
    rerank: bool | M3Reranker = True
    filter: Filter | None = None
    rerank_candidates: int = RERANKED
    chunks: bool = False
    exact: bool = False

    def __post_init__(self) -> None:
        whole_number("k", self.k, 1, MOST_HITS)
        whole_number("candidates", self.candidates, 1, MOST_HITS)
        choice_of("mode", self.mode, MODES)
        whole_number("rerank_candidates", self.rerank_candidates, 1, MOST_HITS)
        flag("chunks", self.chunks)
        flag("exact", self.exact)
        if self.reranker is None:
            _check_rerank(self.rerank)
        if not self.is_rrf:
            _check_weights(self.fusion)
        if self.filter is not None:
            object.__setattr__(self, "filter", _checked_filter(self.filter))

    @property
    def reranker(self) -> M3Reranker | None:
        """The reranker that has the last word, if one was given."""
        from ...reranker import M3Reranker

        return self.rerank if isinstance(self.rerank, M3Reranker) else None

    @property
    def before_reranking(self) -> Self:
        """The options that find what the reranker reads."""
        return self if self.reranker is None else replace(self, k=max(self.k, self.rerank_candidates))

    @property
    def is_rrf(self) -> bool:
        """Whether ranks are fused. `fusion` may be an array, which must not be compared with a text."""
        return isinstance(self.fusion, str) and self.fusion == "rrf"

    @property
    def weights(self) -> dict[str, float] | None:
        """The weight of each view, scaled so that the largest is 1; None for RRF."""
        if self.is_rrf:
            return None
        weights = [float(weight) for weight in self.fusion]
        return {view: weight / max(weights) for view, weight in zip(VIEWS, weights, strict=True)}

    def views(self, settings: Settings) -> list[str]:
        """The views that a search looks at, ColBERT last.

        Raises InputError for a mode that is not stored, and for weights that are 0 for all views of this search.
        """
        stored = [name for name in VIEWS if getattr(settings, name)]
        if self.mode != "hybrid":
            if self.mode not in stored:
                raise InputError(f"the index stores no {self.mode} vectors, only {', '.join(stored)}; use one of those")
            return [self.mode]
        first = [name for name in stored if name != "colbert"]
        views = stored if self.rerank or not first else first
        if self.weights is not None and not any(self.weights[view] for view in views):
            weights = ", ".join(f"{float(weight):g}" for weight in self.fusion)
            raise InputError(
                f"fusion is ({weights}) for dense, sparse, colbert, but this search has {' and '.join(views)} only; "
                "give one of those a weight above 0"
            )
        return views


def _check_rerank(rerank: object) -> None:
    try:
        flag("rerank", rerank)
    except InputError:
        raise InputError(f"rerank is {shown(rerank)}, expected True, False or an M3Reranker") from None


def _checked_filter(wanted: object) -> Filter:
    if not isinstance(wanted, Mapping):
        raise InputError(f"filter is {a_kind(wanted)}, expected {{field: value}}")
    found: dict[str, Scalar | tuple[Scalar, ...]] = {}
    for name, value in mapping_of("filter", wanted, "{field: value}").items():
        several = tuple(map(simple, value)) if isinstance(value, list | tuple) and value else None
        values = (simple(value),) if several is None else several
        if not isinstance(name, str) or not all(isinstance(one, Scalar) for one in values):
            expected = "a string, number, boolean or None, or a list of such for any of them"
            raise InputError(f"filter has {shown(name)}: {shown(value)}, expected {expected}")
        found[name] = values[0] if several is None else values
    return found


def _check_weights(weights: object) -> None:
    try:
        values = np.asarray(weights, np.float64)
        good = (
            not isinstance(weights, str) and values.shape == (3,) and np.isfinite(values).all() and (values >= 0).all()
        )
    except Exception:  # an object of another package may raise anything
        good = False
    if not good or not values.any():
        raise InputError(
            f"fusion is {shown(weights)}, expected 'rrf' or three weights >= 0 for dense, sparse, colbert, not all 0"
        )
