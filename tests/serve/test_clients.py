"""Real clients, unmodified, against the server; each test needs the client's package and is skipped without it."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3rt import M3Encoder

pytest.importorskip("fastapi", reason="needs the 'server' extra")
# What clients warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = ["the sea is deep", "Tokyo Tower is 333 metres high.", "東京タワー"]
QUERY = "deep sea"
KEY = "any"
CLOSE = 1e-2  # cosine distance between an int8 bundle's results in different batches


@pytest.fixture(autouse=True)
def own_warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OPENAI_API_KEY", "CO_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()  # some clients leave their sockets open


@pytest.fixture(scope="module")
def vectors(tiny: M3Encoder) -> Any:
    return tiny.encode(TEXTS).dense_vecs


def assert_vectors(found: Any, vectors: Any) -> None:
    array = np.array(found, np.float32)
    assert array.shape == vectors.shape
    assert (np.einsum("nd,nd->n", array, vectors) > 1 - CLOSE).all()


def test_openai(address: str, vectors: Any) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{address}/v1", api_key=KEY)
    assert_vectors([row.embedding for row in client.embeddings.create(model="m", input=TEXTS).data], vectors)
    floats = client.embeddings.create(model="m", input=TEXTS, encoding_format="float", dimensions=64).data
    assert len(floats[0].embedding) == 64
    assert [model.object for model in client.models.list()] == ["model"]
    with pytest.raises(openai.BadRequestError, match="input is empty"):
        client.embeddings.create(model="m", input=[])


def test_langchain_openai(address: str, vectors: Any) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")
    embeddings = langchain_openai.OpenAIEmbeddings(
        base_url=f"{address}/v1", api_key=KEY, model="m", check_embedding_ctx_length=False
    )
    assert_vectors(embeddings.embed_documents(TEXTS), vectors)
    assert_vectors([embeddings.embed_query(TEXTS[0])], vectors[:1])


def test_langchain_cohere(address: str, vectors: Any) -> None:
    langchain_cohere = pytest.importorskip("langchain_cohere")
    embeddings = langchain_cohere.CohereEmbeddings(base_url=address, cohere_api_key=KEY, model="m")
    assert_vectors(embeddings.embed_documents(TEXTS), vectors)
    reranker = langchain_cohere.CohereRerank(base_url=address, cohere_api_key=KEY, model="m", top_n=2)
    assert reranker.rerank(TEXTS, QUERY)[0]["index"] == 0


def test_cohere_v1(address: str, vectors: Any) -> None:
    cohere = pytest.importorskip("cohere")
    if not hasattr(cohere, "Client"):
        pytest.skip("this version of cohere has the second API only")
    client = cohere.Client(api_key=KEY, base_url=address)
    documents: list[Any] = [{"text": text} for text in TEXTS]
    found = client.rerank(model="m", query=QUERY, documents=documents, top_n=2, return_documents=True)
    assert found.results[0].index == 0
    assert found.results[0].document.text == TEXTS[0]
    assert len(found.results) == 2


def test_cohere_v2(address: str, vectors: Any) -> None:
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key=KEY, base_url=address)
    assert client.rerank(model="m", query=QUERY, documents=TEXTS).results[0].index == 0
    out = client.embed(model="m", texts=TEXTS, input_type="search_document", embedding_types=["float"])
    assert_vectors(out.embeddings.float_ or out.embeddings.float, vectors)


def test_huggingface_hub(address: str, vectors: Any) -> None:
    hub = pytest.importorskip("huggingface_hub")
    if not hasattr(hub, "InferenceClient"):
        pytest.skip("this version of huggingface_hub has no InferenceClient")
    client = hub.InferenceClient(base_url=address, api_key=KEY)
    assert_vectors(client.feature_extraction(TEXTS[0]), vectors[:1])
    scores = client.sentence_similarity(TEXTS[0], other_sentences=TEXTS)
    assert scores == pytest.approx((vectors @ vectors[0]).tolist(), abs=CLOSE)


def test_llama_index_openai_like(address: str, vectors: Any) -> None:
    module = pytest.importorskip("llama_index.embeddings.openai_like")
    embeddings = module.OpenAILikeEmbedding(model_name="m", api_base=f"{address}/v1", api_key=KEY)
    assert_vectors(embeddings.get_text_embedding_batch(TEXTS), vectors)


def test_llama_index_tei(address: str, vectors: Any) -> None:
    module = pytest.importorskip("llama_index.embeddings.text_embeddings_inference")
    embeddings = module.TextEmbeddingsInference(model_name="m", base_url=address, auth_token=f"Bearer {KEY}")
    assert_vectors(embeddings.get_text_embedding_batch(TEXTS), vectors)


def nodes() -> list[Any]:
    schema = pytest.importorskip("llama_index.core.schema")
    return [schema.NodeWithScore(node=schema.TextNode(text=text), score=0.0) for text in TEXTS]


def test_llama_index_tei_rerank(address: str) -> None:
    module = pytest.importorskip("llama_index.postprocessor.tei_rerank")
    reranker = module.TextEmbeddingInference(base_url=address, model_name="m", top_n=2, auth_token=KEY)
    assert reranker.postprocess_nodes(nodes(), query_str=QUERY)[0].node.text == TEXTS[0]


def test_llama_index_cohere_rerank(address: str) -> None:
    module = pytest.importorskip("llama_index.postprocessor.cohere_rerank")
    reranker = module.CohereRerank(api_key=KEY, model="m", base_url=address, top_n=2)
    assert reranker.postprocess_nodes(nodes(), query_str=QUERY)[0].node.text == TEXTS[0]


def test_llama_index_jina_rerank(address: str) -> None:
    module = pytest.importorskip("llama_index.postprocessor.jinaai_rerank")
    reranker = module.JinaRerank(api_key=KEY, model="m", base_url=f"{address}/v1", top_n=2)
    assert reranker.postprocess_nodes(nodes(), query_str=QUERY)[0].node.text == TEXTS[0]


def documents() -> list[Any]:
    haystack = pytest.importorskip("haystack")
    return [haystack.Document(content=text) for text in TEXTS]


def test_haystack_openai(address: str, vectors: Any) -> None:
    module = pytest.importorskip("haystack.components.embedders")
    utils = pytest.importorskip("haystack.utils")
    options = {"api_key": utils.Secret.from_token(KEY), "api_base_url": f"{address}/v1", "model": "m"}
    text = module.OpenAITextEmbedder(**options).run(text=TEXTS[0])
    assert_vectors([text["embedding"]], vectors[:1])
    found = module.OpenAIDocumentEmbedder(progress_bar=False, **options).run(documents=documents())
    assert_vectors([document.embedding for document in found["documents"]], vectors)


def test_haystack_tei(address: str, vectors: Any) -> None:
    embedders = pytest.importorskip("haystack_integrations.components.embedders.huggingface_api")
    rankers = pytest.importorskip("haystack_integrations.components.rankers.huggingface_api")
    utils = pytest.importorskip("haystack.utils")
    token = utils.Secret.from_token(KEY)
    options = {"api_type": "text_embeddings_inference", "api_params": {"url": address}, "token": token}
    assert_vectors([embedders.HuggingFaceAPITextEmbedder(**options).run(text=TEXTS[0])["embedding"]], vectors[:1])
    found = embedders.HuggingFaceAPIDocumentEmbedder(progress_bar=False, **options).run(documents=documents())
    assert_vectors([document.embedding for document in found["documents"]], vectors)
    ranked = rankers.HuggingFaceTEIRanker(url=address, top_k=2, token=token).run(query=QUERY, documents=documents())
    assert ranked["documents"][0].content == TEXTS[0]


def test_haystack_cohere(address: str) -> None:
    module = pytest.importorskip("haystack_integrations.components.rankers.cohere")
    utils = pytest.importorskip("haystack.utils")
    ranker = module.CohereRanker(model="m", api_key=utils.Secret.from_token(KEY), api_base_url=address, top_k=2)
    assert ranker.run(query=QUERY, documents=documents())["documents"][0].content == TEXTS[0]


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_litellm_embedding(provider: str, address: str, vectors: Any) -> None:
    litellm = pytest.importorskip("litellm")
    out = litellm.embedding(model=f"{provider}/m", input=TEXTS, api_base=f"{address}/v1", api_key=KEY)
    assert_vectors([row["embedding"] for row in out.data], vectors)


@pytest.mark.parametrize(
    ("provider", "path"),
    [("cohere", "/v2/rerank"), ("jina_ai", "/v1/rerank"), ("hosted_vllm", ""), ("huggingface", "")],
)
def test_litellm_rerank(provider: str, path: str, address: str) -> None:
    litellm = pytest.importorskip("litellm")
    out = litellm.rerank(
        model=f"{provider}/m", query=QUERY, documents=TEXTS, top_n=2, api_base=f"{address}{path}", api_key=KEY
    )
    assert out.results[0]["index"] == 0


def test_langchain_infinity(address: str, vectors: Any) -> None:
    module = pytest.importorskip("langchain_community.embeddings")
    embeddings = module.InfinityEmbeddings(model="m", infinity_api_url=address)
    assert_vectors(embeddings.embed_documents(TEXTS), vectors)


def test_milvus_lite_embeds_and_reranks_by_its_functions(address: str, vectors: Any, tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    milvus = pytest.importorskip("pymilvus")
    client = milvus.MilvusClient(str(tmp_path / "milvus.db"))
    schema = client.create_schema()
    schema.add_field("id", milvus.DataType.INT64, is_primary=True)
    schema.add_field("text", milvus.DataType.VARCHAR, max_length=1000)
    schema.add_field("dense", milvus.DataType.FLOAT_VECTOR, dim=vectors.shape[1])
    model = {"model_name": "m", "api_key": KEY}
    schema.add_function(
        milvus.Function(
            name="embed", function_type=milvus.FunctionType.TEXTEMBEDDING, input_field_names=["text"],
            output_field_names=["dense"],
            params={"provider": "openai", "base_url": f"{address}/v1", "dimensions": vectors.shape[1], **model},
        )
    )  # fmt: skip
    indexes = client.prepare_index_params()
    indexes.add_index("dense", index_type="FLAT", metric_type="COSINE")
    client.create_collection("texts", schema=schema, index_params=indexes)
    client.insert("texts", [{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    rows = client.query("texts", filter="id >= 0", output_fields=["id", "dense"])
    assert_vectors([row["dense"] for row in sorted(rows, key=lambda row: row["id"])], vectors)
    hits = client.search("texts", data=[TEXTS[2]], anns_field="dense", limit=3)[0]
    assert hits[0]["id"] == 2
    cohere = {"reranker": "model", "provider": "cohere", "base_url": f"{address}/v2", "queries": [QUERY], **model}
    ranker = milvus.Function(
        name="rerank", function_type=milvus.FunctionType.RERANK, input_field_names=["text"], params=cohere
    )
    hits = client.search("texts", data=[TEXTS[2]], anns_field="dense", limit=3, ranker=ranker)[0]
    assert hits[0]["id"] == 0
    client.close()
