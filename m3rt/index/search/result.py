"""The result of a search: hits, each with its score by every view, and the seconds of each stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search returned.

    score: the hits are ranked by it. scores: one for each view that scored the document, by the names "dense",
    "sparse", "colbert"; where a reranker had the last word, its score as "reranker", and as "fused" that of the views
    together. text: the document's text, or that of its best chunk, which `span` (characters from, to) cuts
    out of it. terms: for each token id that query and text share, its part of the sparse score, with explain=True.
    """

    id: str
    score: float
    scores: Mapping[str, float]
    text: str | None
    metadata: Mapping[str, Any]
    span: tuple[int, int] | None = None
    terms: Mapping[int, float] | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first, `seconds` by stage (encode, dense, sparse, fuse, colbert, read, rerank, total), and whether the
    query was longer than the model takes and cut off. cut_pairs: pairs of query and document that the reranker cut.
    """

    hits: tuple[Hit, ...]
    seconds: Mapping[str, float]
    truncated: bool = False
    cut_pairs: int = 0

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, i: int) -> Hit:
        return self.hits[i]
