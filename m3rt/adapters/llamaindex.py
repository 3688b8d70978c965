"""LlamaIndex: dense embeddings, sparse vectors for its vector stores, a retriever, and a postprocessor that reranks."""

# mypy: disable-error-code="import-not-found"
# mypy: allow-subclassing-any

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..bundle import DEFAULT
from ..encoder import M3Encoder
from .parts.packages import unusable
from .parts.reranker import best, relevance

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
except ImportError as error:
    raise unusable("llama_index", "llamaindex", "llama-index-core 0.14", error) from None

Sparse = tuple[list[list[int]], list[list[float]]]


class M3rtEmbedding(BaseEmbedding):
    """LlamaIndex' embedding of a bundle's dense vectors, with its prompts for texts and queries.

    model: a bundle's directory, by default m3-tiny, or an M3Encoder. fields: BaseEmbedding's; embed_batch_size is 256
    by default, since m3rt batches by tokens itself. Raises as M3Encoder.
    """

    _encoder: M3Encoder = PrivateAttr()

    def __init__(self, model: str | Path | M3Encoder = DEFAULT, **fields: Any) -> None:
        encoder = model if isinstance(model, M3Encoder) else M3Encoder(model)
        super().__init__(**{"model_name": encoder.manifest.source.id, "embed_batch_size": 256, **fields})
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        return "M3rtEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        found: list[float] = self._encoder.encode_queries(query)["dense_vecs"][0].tolist()
        return found

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._encoder.encode_corpus(texts)["dense_vecs"].tolist()
        return found

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


class M3rtRetriever(BaseRetriever):
    """LlamaIndex' retriever over a HybridIndex.

    index: the HybridIndex. k: nodes to return. options: HybridIndex.search's others.
    """

    def __init__(self, index: Any, k: int = 10, **options: Any) -> None:
        super().__init__()
        self._index, self._k, self._options = index, k, options

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._index.search(query_bundle.query_str, self._k, **self._options)
        nodes = [TextNode(id_=hit.id, text=hit.text or "", metadata=dict(hit.metadata)) for hit in hits]
        return [NodeWithScore(node=node, score=hit.score) for node, hit in zip(nodes, hits, strict=True)]


class M3rtRerank(BaseNodePostprocessor):
    """LlamaIndex' node postprocessor: the top_n nodes by a reranker's scores.

    reranker: anything with compute_score(pairs), such as an M3Encoder.
    """

    reranker: Any
    top_n: int | None = 3

    @classmethod
    def class_name(cls) -> str:
        return "M3rtRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("M3rtRerank needs a query; give query_bundle or query_str")
        texts = [found.node.get_content(metadata_mode=MetadataMode.EMBED) for found in nodes]
        scores = relevance(self.reranker, query_bundle.query_str, texts)
        return [NodeWithScore(node=nodes[i].node, score=scores[i]) for i in best(scores, self.top_n)]


def sparse_encoder(encoder: M3Encoder, *, query: bool = False) -> Callable[[list[str]], Sparse]:
    """The function that QdrantVectorStore takes as sparse_doc_fn, and with query=True as sparse_query_fn."""
    encode = encoder.encode_queries if query else encoder.encode_corpus

    def sparse(texts: list[str]) -> Sparse:
        rows = encode(texts, return_dense=False, return_sparse=True).lexical_weights or []
        return [list(row) for row in rows], [list(row.values()) for row in rows]

    return sparse
