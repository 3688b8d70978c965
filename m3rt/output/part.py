"""A part: the results of consecutive texts of one input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..embeddings import Embeddings


@dataclass(frozen=True, slots=True)
class Part:
    """Embeddings of texts first, first + 1, ...; `ids` has the id of each text, or None."""

    first: int
    ids: Sequence[str | int | None]
    embeddings: Embeddings
