"""LangChain's adapters: its own standard tests, and the encoder's vectors unchanged."""

# ruff: noqa: E402 - imports come after what skips without the framework

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="needs langchain-core")
standard = pytest.importorskip("langchain_tests.unit_tests", reason="needs langchain-tests")
integration = pytest.importorskip("langchain_tests.integration_tests", reason="needs langchain-tests")

from langchain_core.documents import Document

from m3rt import HybridIndex, M3Encoder
from m3rt.adapters.langchain import M3rtEmbeddings, M3rtReranker, M3rtRetriever

TEXTS = {
    "tower": "Tokyo Tower is 333 metres high.",
    "pie": "Apfelkuchen schmeckt gut.",
    "river": "The Danube flows into the Black Sea.",
    "train": "The night train leaves at ten.",
}


class TestEmbeddingsUnit(standard.EmbeddingsUnitTests):  # type: ignore[misc,name-defined]
    """What langchain-tests asks of every class of embeddings."""

    @property
    def embeddings_class(self) -> type[M3rtEmbeddings]:
        return M3rtEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"threads": 1}


class TestEmbeddingsIntegration(integration.EmbeddingsIntegrationTests):  # type: ignore[misc,name-defined]
    """And of what they give."""

    embeddings_class = TestEmbeddingsUnit.embeddings_class
    embedding_model_params = TestEmbeddingsUnit.embedding_model_params


@pytest.fixture(scope="module")
def tiny() -> M3Encoder:
    return M3Encoder(threads=1)


@pytest.fixture(scope="module")
def index(tiny: M3Encoder, tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    index = HybridIndex.create(tmp_path_factory.mktemp("langchain") / "index", tiny)
    index.add(list(TEXTS), TEXTS.values(), metadata=[{"place": i} for i in range(len(TEXTS))])
    return index


class TestRetriever(integration.RetrieversIntegrationTests):  # type: ignore[misc,name-defined]
    """What langchain-tests asks of every retriever."""

    @pytest.fixture(autouse=True)
    def _index(self, index: HybridIndex) -> None:
        self._made = index

    @property
    def retriever_constructor(self) -> type[M3rtRetriever]:
        return M3rtRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self._made}

    @property
    def retriever_query_example(self) -> str:
        return "How tall is Tokyo Tower?"


def test_vectors_are_the_encoders(tiny: M3Encoder) -> None:
    model = M3rtEmbeddings(tiny)
    np.testing.assert_allclose(
        model.embed_documents(list(TEXTS.values())), tiny.encode_corpus(TEXTS.values())["dense_vecs"], atol=1e-6
    )
    np.testing.assert_allclose(model.embed_query("a"), tiny.encode_queries("a")["dense_vecs"][0], atol=1e-6)
    assert model.embed_documents([]) == []


def test_the_retriever_gives_the_indexs_hits(index: HybridIndex) -> None:
    query = "How tall is Tokyo Tower?"
    found = M3rtRetriever(index=index, k=3, options={"mode": "dense"}).invoke(query)
    hits = index.search(query, 3, mode="dense")
    assert [(d.id, d.page_content, d.metadata["score"]) for d in found] == [(h.id, h.text, h.score) for h in hits]
    assert found[0].metadata["place"] == 0


def test_the_compressor_keeps_the_best_by_the_rerankers_scores(tiny: M3Encoder) -> None:
    documents = [Document(page_content=text, id=key, metadata={"key": key}) for key, text in TEXTS.items()]
    query = "How tall is Tokyo Tower?"
    found = M3rtReranker(reranker=tiny, top_n=2).compress_documents(documents, query)
    scores = tiny.compute_score([(query, text) for text in TEXTS.values()])["colbert+sparse+dense"]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:2]
    assert [d.id for d in found] == [documents[i].id for i in order]
    assert [d.metadata["relevance_score"] for d in found] == pytest.approx([scores[i] for i in order])
    assert documents[0].metadata == {"key": "tower"}
    assert M3rtReranker(reranker=tiny).compress_documents([], query) == []


def test_hybrid_search_in_qdrant_takes_the_sparse_embeddings(tiny: M3Encoder, tmp_path: Path) -> None:
    stores = pytest.importorskip("langchain_qdrant", reason="needs langchain-qdrant")
    from m3rt.adapters.langchain_qdrant import M3rtSparseEmbeddings

    sparse = M3rtSparseEmbeddings(tiny)
    store = stores.QdrantVectorStore.from_texts(
        list(TEXTS.values()),
        M3rtEmbeddings(tiny),
        sparse_embedding=sparse,
        retrieval_mode=stores.RetrievalMode.HYBRID,
        path=str(tmp_path / "qdrant"),
        collection_name="docs",
    )
    found = store.similarity_search("Tokyo Tower", 1)
    store.client.close()
    assert found[0].page_content == TEXTS["tower"]
    weights = tiny.encode_queries("Tokyo", return_dense=False, return_sparse=True).lexical_weights
    vector = sparse.embed_query("Tokyo")
    assert weights == [dict(zip(vector.indices, vector.values, strict=True))]
