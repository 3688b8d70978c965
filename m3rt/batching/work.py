"""Texts as the engine wants them."""

from __future__ import annotations

from dataclasses import dataclass

from ..bundle.heads import Heads
from ..text.tokenizer import TokenIds

_COLBERT_COST = 32  # what a token with a vector of its own costs, in tokens without: memory until it is sent


@dataclass(frozen=True, slots=True)
class Work:
    """Token ids of texts and what to compute of them, every option checked: what M3Encoder.prepare() makes."""

    tokens: TokenIds
    heads: Heads
    truncate_dim: int | None = None

    @property
    def cost(self) -> int:
        """Tokens, weighted by the memory that their outputs take."""
        return len(self.tokens.ids) * (_COLBERT_COST if self.heads.colbert else 1)
