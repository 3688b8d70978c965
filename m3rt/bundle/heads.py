"""The heads of a model: the outputs that it has, or that a call requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HEAD_NAMES = {"dense": "return_dense", "sparse": "return_sparse", "colbert": "return_colbert_vecs"}


@dataclass(frozen=True, slots=True)
class Heads:
    """The outputs to compute; the other outputs cost nothing."""

    dense: bool = True
    sparse: bool = False
    colbert: bool = False
    logits: bool = False  # a reranker's only head, which has no switch

    def keywords(self) -> dict[str, Any]:
        """Return the heads as keywords of encode(), which are also the names of a graph's switches."""
        return {keyword: getattr(self, head) for head, keyword in HEAD_NAMES.items()}
