"""What a search returns: hits, each with the score of every stage, and the seconds of each stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found.

    score: what the hits are ranked by. scores: of each view that looked at the document, by the names "dense",
    "sparse", "colbert"; where a reranker had the last word, its own as "reranker", and as "fused" what the views gave
    together. text: the document's, or of the chunk that matched best, which `span` cuts out of it (characters from,
    to). terms: what each token id that query and text share adds to the sparse score, if asked for.
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
