"""LlamaIndex' adapters: through its own VectorStoreIndex, with the encoder's vectors unchanged."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="needs llama-index-core")

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from m3rt import HybridIndex, M3Encoder
from m3rt.adapters.llamaindex import M3rtEmbedding, M3rtRerank, M3rtRetriever, sparse_encoder

TEXTS = {
    "tower": "Tokyo Tower is 333 metres high.",
    "pie": "Apfelkuchen schmeckt gut.",
    "river": "The Danube flows into the Black Sea.",
}
QUERY = "How tall is Tokyo Tower?"


@pytest.fixture(scope="module")
def tiny() -> M3Encoder:
    return M3Encoder(threads=1)


@pytest.fixture
def nodes() -> list[TextNode]:
    return [TextNode(id_=key, text=text) for key, text in TEXTS.items()]


def test_vectors_are_the_encoders_whichever_way_they_are_asked_for(tiny: M3Encoder) -> None:
    model = M3rtEmbedding(tiny)
    wanted = tiny.encode_corpus(TEXTS.values())["dense_vecs"]
    texts = list(TEXTS.values())
    for found in (
        model.get_text_embedding_batch(texts),
        [model.get_text_embedding(text) for text in texts],
        asyncio.run(model.aget_text_embedding_batch(texts)),
    ):
        np.testing.assert_allclose(found, wanted, atol=2e-2)  # an int8 bundle's results vary a little with the batch
    query = tiny.encode_queries(QUERY)["dense_vecs"][0]
    np.testing.assert_allclose(model.get_query_embedding(QUERY), query, atol=1e-6)
    np.testing.assert_allclose(asyncio.run(model.aget_query_embedding(QUERY)), query, atol=1e-6)


def test_a_vector_store_index_finds_the_node(tiny: M3Encoder, nodes: list[TextNode]) -> None:
    index = VectorStoreIndex(nodes, embed_model=M3rtEmbedding(tiny))
    found = index.as_retriever(similarity_top_k=2).retrieve(QUERY)
    wanted = tiny.encode_queries(QUERY)["dense_vecs"][0] @ tiny.encode_corpus(TEXTS.values())["dense_vecs"].T
    assert [hit.node.node_id for hit in found] == [list(TEXTS)[i] for i in np.argsort(-wanted)[:2]]
    assert found[0].score == pytest.approx(float(wanted.max()), abs=1e-3)


def test_the_model_names_itself_and_serializes(tiny: M3Encoder) -> None:
    assert M3rtEmbedding(tiny).to_dict()["class_name"] == "M3rtEmbedding"
    assert M3rtEmbedding(tiny).model_name == tiny.manifest.source.id


def test_the_retriever_gives_the_indexs_hits(tiny: M3Encoder, tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", tiny)
    index.add(list(TEXTS), TEXTS.values())
    found = M3rtRetriever(index, 2).retrieve(QUERY)
    assert [(f.node.node_id, f.score) for f in found] == [(hit.id, hit.score) for hit in index.search(QUERY, 2)]
    assert found[0].node.get_content() == TEXTS[found[0].node.node_id]


def test_the_postprocessor_keeps_the_best_by_the_rerankers_scores(tiny: M3Encoder, nodes: list[TextNode]) -> None:
    given = [NodeWithScore(node=node, score=0.0) for node in nodes]
    found = M3rtRerank(reranker=tiny, top_n=2).postprocess_nodes(given, QueryBundle(QUERY))
    scores = tiny.compute_score([(QUERY, text) for text in TEXTS.values()])["colbert+sparse+dense"]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:2]
    assert [hit.node.node_id for hit in found] == [list(TEXTS)[i] for i in order]
    assert [hit.score for hit in found] == pytest.approx([scores[i] for i in order])


def test_sparse_vectors_are_the_encoders(tiny: M3Encoder) -> None:
    texts = [*TEXTS.values(), ""]
    ids, weights = sparse_encoder(tiny)(texts)
    wanted = tiny.encode_corpus(texts, return_dense=False, return_sparse=True).lexical_weights
    assert [dict(zip(i, w, strict=True)) for i, w in zip(ids, weights, strict=True)] == wanted
