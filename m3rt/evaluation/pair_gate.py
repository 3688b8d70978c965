"""The quality gate of rerankers: is the order of a query's passages that of the float32 bundle?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import InputError
from ..model import Progress
from ..reranker import M3Reranker
from .fidelity import check_same_model
from .gate import Gate, checked_limits
from .pair_fidelity import built_in_pairs, pair_fidelity

# Targets: small rerankers that we trained kept an order of .94 to .96 in int8 (benchmarks/LOG.md), so they fail.
PAIR_LIMITS: Mapping[str, float] = {"order": 0.97, "score_error": 0.05}


def gate_pairs(
    load: Callable[[Bundle], M3Reranker],
    model: Bundle,
    reference: Bundle,
    *,
    limits: Mapping[str, float] | None = None,
    progress: Progress = lambda texts, tokens: None,
) -> Gate:
    """Compare two rerankers of one checkpoint on built-in sentences.

    load: from a bundle to its reranker; one is in memory at a time. limits: in the place of some of PAIR_LIMITS.
    Raises InputError for an unknown limit, bundles that cannot be compared, and models of several labels.
    """
    check_same_model(model.manifest, reference.manifest)
    if model.manifest.labels != 1:
        raise InputError(f"{model.path} gives {model.manifest.labels} labels to a pair, expected a reranker's one")
    allowed = checked_limits(limits or {}, PAIR_LIMITS)

    def scores(bundle: Bundle) -> tuple[str, NDArray[np.float64]]:
        reranker = load(bundle)
        found = reranker.compute_score(built_in_pairs(), normalize=True, show_progress=progress)
        return reranker.engine.name, found.values

    _, expected = scores(reference)
    engine, found = scores(model)
    return Gate(engine, reference.manifest.precision, pair_fidelity(found, expected), (), {}, allowed)
