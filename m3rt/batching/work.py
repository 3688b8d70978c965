"""Texts as the engine wants them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..bundle.heads import Heads
from ..text.tokenizer import TokenIds

_COLBERT_COST = 32  # what a token with a vector of its own costs, in tokens without: memory until it is sent


@dataclass(frozen=True, slots=True, eq=False)
class VectorFormat:
    """How vectors leave: so many first components of each, None for all, and the precisions and their ranges."""

    truncate_dim: int | None = None
    dense_precision: str = "float32"
    dense_ranges: NDArray[np.float32] | None = None
    colbert_precision: str = "float32"


@dataclass(frozen=True, slots=True)
class Work:
    """Token ids of texts and what to compute of them, every option checked: what M3Encoder.prepare() makes."""

    tokens: TokenIds
    heads: Heads
    format: VectorFormat = field(default_factory=VectorFormat)

    @property
    def cost(self) -> int:
        """Tokens, weighted by the memory that their outputs take."""
        return len(self.tokens.ids) * (_COLBERT_COST if self.heads.colbert else 1)
