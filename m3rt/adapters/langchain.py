"""LangChain: dense embeddings, a retriever over an index, and a document compressor that reranks."""

# mypy: disable-error-code="import-not-found"
# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..bundle import DEFAULT
from ..encoder import M3Encoder
from .parts.packages import unusable
from .parts.reranker import best, relevance

try:
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from pydantic import ConfigDict, Field
except ImportError as error:
    raise unusable("langchain_core", "langchain", "1.x", error) from None


class M3rtEmbeddings(Embeddings):
    """LangChain's Embeddings of a bundle's dense vectors, with its prompts for documents and queries.

    model: a bundle's directory, by default m3-tiny, or an M3Encoder; options: M3Encoder's. Raises as M3Encoder.
    """

    def __init__(self, model: str | Path | M3Encoder = DEFAULT, **options: Any) -> None:
        self.encoder = model if isinstance(model, M3Encoder) else M3Encoder(model, **options)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        found: list[list[float]] = self.encoder.encode_corpus(texts)["dense_vecs"].tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        found: list[float] = self.encoder.encode_queries(text)["dense_vecs"][0].tolist()
        return found


class M3rtRetriever(BaseRetriever):
    """LangChain's retriever over a HybridIndex.

    index: the HybridIndex. k: documents to return. options: HybridIndex.search's others. A document has the hit's text,
    its id, and its metadata with the score under "score".
    """

    index: Any
    k: int = 10
    options: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(self, query: str, *, run_manager: Any = None, k: int | None = None) -> list[Document]:
        hits = self.index.search(query, self.k if k is None else k, **self.options)
        return [
            Document(page_content=hit.text or "", id=hit.id, metadata={**hit.metadata, "score": hit.score})
            for hit in hits
        ]


class M3rtReranker(BaseDocumentCompressor):
    """LangChain's document compressor: the top_n documents by a reranker's scores, under "relevance_score".

    reranker: anything with compute_score(pairs), such as an M3Encoder.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    reranker: Any
    top_n: int | None = 3

    def compress_documents(self, documents: Sequence[Document], query: str, callbacks: Any = None) -> list[Document]:
        """The best documents, best first; those given stay as they are."""
        scores = relevance(self.reranker, query, [document.page_content for document in documents])
        return [
            documents[i].model_copy(update={"metadata": {**documents[i].metadata, "relevance_score": scores[i]}})
            for i in best(scores, self.top_n)
        ]
