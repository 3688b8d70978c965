"""How to search: every option, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..errors import InputError, whole_number
from .facets import Scalar
from .manifest import Settings

Mode = Literal["hybrid", "dense", "sparse", "colbert"]
VIEWS = ("dense", "sparse", "colbert")
# Of dense, sparse and ColBERT scores: the paper's for MIRACL (arXiv:2402.03216, section 4.1).
WEIGHTS = (1.0, 0.3, 1.0)
MOST = 1 << 20  # hits and candidates


@dataclass(frozen=True, slots=True)
class Options:
    """How to search; see HybridIndex.search."""

    k: int = 10
    mode: Mode = "hybrid"
    fusion: Literal["rrf"] | Sequence[float] = WEIGHTS
    candidates: int = 100
    rerank: bool = True
    filter: Mapping[str, Scalar] | None = None

    def __post_init__(self) -> None:
        whole_number("k", self.k, 1, MOST)
        whole_number("candidates", self.candidates, 1, MOST)
        if self.mode not in get_args(Mode):
            raise InputError(f"mode is {self.mode!r}, expected one of {', '.join(get_args(Mode))}")
        if self.fusion != "rrf":
            _check_weights(self.fusion)
        if not isinstance(self.filter, Mapping | None):
            raise InputError(f"filter is a {type(self.filter).__name__}, expected {{field: value}}")
        for name, value in (self.filter or {}).items():
            if not isinstance(name, str) or not isinstance(value, Scalar):
                raise InputError(f"filter has {name!r:.40}: {value!r:.40}, expected a string, number, boolean or None")

    @property
    def weights(self) -> dict[str, float] | None:
        """The weight of each view, the largest 1, None for RRF."""
        if self.fusion == "rrf":
            return None
        largest = float(max(self.fusion))
        return {view: float(weight) / largest for view, weight in zip(VIEWS, self.fusion, strict=True)}

    def views(self, settings: Settings) -> list[str]:
        """The views that a search looks at, ColBERT last.

        Raises InputError for a mode that is not stored, and for weights that leave nothing of what is stored.
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


def _check_weights(weights: object) -> None:
    try:
        values = np.asarray(weights, np.float64)
        good = (
            not isinstance(weights, str) and values.shape == (3,) and np.isfinite(values).all() and (values >= 0).all()
        )
    except (TypeError, ValueError):
        good = False
    if not good or not values.any():
        raise InputError(
            f"fusion is {weights!r:.60}, expected 'rrf' or three weights >= 0 for dense, sparse, colbert, not all 0"
        )
