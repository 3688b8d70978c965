"""The heads of a model: which of its outputs there are, or are wanted."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_NAMES = {"dense": "return_dense", "sparse": "return_sparse", "colbert": "return_colbert_vecs"}


@dataclass(frozen=True, slots=True)
class Heads:
    """Which outputs to compute; the others cost nothing."""

    dense: bool = True
    sparse: bool = False
    colbert: bool = False
    logits: bool = False  # a reranker's only head, which has no switch

    def keywords(self) -> dict[str, bool]:
        """As encode() names them, and the switches of a graph."""
        return {keyword: getattr(self, head) for head, keyword in HEAD_NAMES.items()}
