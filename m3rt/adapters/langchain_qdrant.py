"""langchain-qdrant: sparse embeddings for a hybrid QdrantVectorStore."""

# mypy: disable-error-code="import-not-found"
# mypy: allow-subclassing-any

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..bundle import DEFAULT
from ..embeddings import Embeddings
from ..encoder import M3Encoder
from .parts.packages import unusable

try:
    from langchain_qdrant.sparse_embeddings import SparseEmbeddings, SparseVector
except ImportError as error:
    raise unusable("langchain_qdrant", "langchain", "1.x", error) from None

_SPARSE = {"return_dense": False, "return_sparse": True}


class M3rtSparseEmbeddings(SparseEmbeddings):
    """SparseEmbeddings of a bundle's lexical weights; one encoder can serve M3rtEmbeddings too.

    model: a bundle's directory, by default m3-tiny, or an M3Encoder; options: M3Encoder's. Raises as M3Encoder.
    """

    def __init__(self, model: str | Path | M3Encoder = DEFAULT, **options: Any) -> None:
        self.encoder = model if isinstance(model, M3Encoder) else M3Encoder(model, **options)

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Token ids and weights of each text; a text without any has two empty lists."""
        return _vectors(self.encoder.encode_corpus(texts, **_SPARSE))

    def embed_query(self, text: str) -> SparseVector:
        """Token ids and weights of a query."""
        return _vectors(self.encoder.encode_queries(text, **_SPARSE))[0]


def _vectors(out: Embeddings) -> list[Any]:
    return [SparseVector(indices=list(row), values=list(row.values())) for row in out.lexical_weights or ()]
