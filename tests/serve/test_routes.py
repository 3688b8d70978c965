"""Every route answers in the shape that its clients read, with what encode() gives."""

import io
import re
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from serving import SharedWords, running

from m3rt import HybridIndex, M3Encoder
from m3rt.embeddings import Embeddings
from m3rt.serve.service import Service

pytest.importorskip("fastapi", reason="needs the 'server' extra")
httpx = pytest.importorskip("httpx")

TEXTS = ["Tokyo Tower is 333 metres high.", "", "東京タワー", "a b c " * 30]
INT8 = 2e-2  # how far results of an int8 bundle lie apart, computed in other batches or with other views
PASSAGES = ["the sea is deep", "deep snow", "no shared word"]


@pytest.fixture(scope="module")
def expected(tiny: M3Encoder) -> Embeddings:
    return tiny.encode(TEXTS, return_sparse=True, return_colbert_vecs=True)


@pytest.fixture(scope="module")
def dense(tiny: M3Encoder) -> Embeddings:
    return tiny.encode(TEXTS)


def post(client: Any, path: str, **body: object) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_openai_embeddings_are_numbers_unless_base64_is_asked_for(
    path: str, client: Any, dense: Embeddings, tiny: M3Encoder
) -> None:
    answer = post(client, path, input=TEXTS, model="any")
    assert {key: answer[key] for key in ("object", "model")} == {"object": "list", "model": tiny.manifest.source.id}
    assert answer["usage"] == dict.fromkeys(("prompt_tokens", "total_tokens"), int(dense.n_tokens.sum()))
    assert [(row["object"], row["index"]) for row in answer["data"]] == [("embedding", i) for i in range(4)]
    floats = np.array([row["embedding"] for row in answer["data"]], np.float32)
    np.testing.assert_array_equal(floats, dense.dense_vecs)
    coded = post(client, path, input=TEXTS, encoding_format="base64")["data"]
    bits = np.array([np.frombuffer(b64decode(row["embedding"]), "<f4") for row in coded])
    np.testing.assert_array_equal(bits, dense.dense_vecs)


def test_openai_takes_one_text_fewer_dimensions_and_null_options(client: Any, tiny: M3Encoder) -> None:
    answer = post(client, "/v1/embeddings", input="one", dimensions=128, user=None, encoding_format=None)
    (row,) = answer["data"]
    whole = tiny.encode("one").dense_vecs
    assert whole is not None
    cut = whole[0, :128] / np.linalg.norm(whole[0, :128])
    np.testing.assert_allclose(row["embedding"], cut, atol=1e-6)


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_openai_lists_the_model(path: str, client: Any, tiny: M3Encoder) -> None:
    answer = client.get(path).json()
    assert (answer["object"], [model["id"] for model in answer["data"]]) == ("list", [tiny.manifest.source.id])


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_tei_embeds_into_a_list_of_vectors_also_for_one_text(path: str, client: Any, dense: Embeddings) -> None:
    many = np.array(post(client, path, inputs=TEXTS, normalize=False, truncate=True), np.float32)
    np.testing.assert_array_equal(many, dense.dense_vecs)
    assert dense.dense_vecs is not None
    assert np.array(post(client, path, inputs=TEXTS[0]), np.float32).shape == (1, dense.dense_vecs.shape[1])


def test_tei_sparse_weights_are_pairs_of_index_and_value(client: Any, expected: Embeddings) -> None:
    rows = post(client, "/embed_sparse", inputs=TEXTS)
    assert expected.lexical_weights is not None
    for row, weights in zip(rows, expected.lexical_weights, strict=True):
        assert {pair["index"]: np.float32(pair["value"]) for pair in row} == pytest.approx(weights, abs=INT8)


def test_tei_all_vectors_are_one_for_each_token(client: Any, expected: Embeddings) -> None:
    assert expected.colbert_vecs is not None
    for row, vectors in zip(post(client, "/embed_all", inputs=TEXTS), expected.colbert_vecs, strict=True):
        np.testing.assert_allclose(np.array(row, np.float32), vectors, atol=INT8)


@pytest.mark.parametrize("path", ["/similarity", "/"])
def test_tei_similarity_is_the_cosine(path: str, client: Any, dense: Embeddings) -> None:
    scores = post(client, path, inputs={"source_sentence": TEXTS[0], "sentences": TEXTS}, parameters={})
    assert dense.dense_vecs is not None
    np.testing.assert_allclose(scores, dense.dense_vecs @ dense.dense_vecs[0], atol=INT8)


def test_tei_tokens_go_there_and_back(client: Any, tiny: M3Encoder) -> None:
    (row,) = post(client, "/tokenize", inputs="Tokyo Tower")
    assert [token["id"] for token in row] == tiny.tokenize("Tokyo Tower")
    assert [token["special"] for token in row] == [True, *[False] * (len(row) - 2), True]
    (bare,) = post(client, "/tokenize", inputs="Tokyo Tower", add_special_tokens=False)
    assert bare == row[1:-1]
    for text in ("hello big world", "東京タワー is tall", ""):
        (row,) = post(client, "/tokenize", inputs=text)
        assert post(client, "/decode", ids=[token["id"] for token in row]) == [text]
    marked = post(client, "/decode", ids=tiny.tokenize("big world"), skip_special_tokens=False)
    assert [part.strip() for part in re.split("<s>|</s>", marked[0])] == ["", "big world", ""]
    assert post(client, "/decode", ids=[[0, 2], [0, 2]], skip_special_tokens=True) == ["", ""]


def test_tei_info_and_health(client: Any, tiny: M3Encoder) -> None:
    info = client.get("/info").json()
    assert (info["model_id"], info["max_input_length"]) == (tiny.manifest.source.id, tiny.manifest.max_tokens)
    assert info["model_type"] == {"embedding": {"pooling": "cls"}}
    assert client.get("/health").status_code == 200


def test_rerank_answers_texts_as_tei_does(client: Any) -> None:
    rows = post(client, "/rerank", query="deep sea", texts=PASSAGES, raw_scores=False, top_n=1, return_text=True)
    assert [(row["index"], row["score"], row["text"]) for row in rows] == [
        (0, 1.0, PASSAGES[0]), (1, 0.5, PASSAGES[1]), (2, 0.0, PASSAGES[2]),
    ]  # fmt: skip
    raw = post(client, "/rerank", query="deep sea", texts=PASSAGES, raw_scores=True)
    assert raw == [{"index": 0, "score": 2.0}, {"index": 1, "score": 1.0}, {"index": 2, "score": 0.0}]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_rerank_answers_documents_as_cohere_and_jina_do(path: str, client: Any) -> None:
    options = {"query": "deep sea", "top_n": 2, "max_tokens_per_doc": None, "model": "any"}
    answer = post(client, path, documents=PASSAGES, **options)
    assert isinstance(answer["id"], str)
    assert answer["results"] == [{"index": 0, "relevance_score": 1.0}, {"index": 1, "relevance_score": 0.5}]
    shown = post(
        client, path, documents=[{"text": text, "id": 7} for text in PASSAGES], return_documents=True, **options
    )
    assert [row["document"] for row in shown["results"]] == [{"text": text} for text in PASSAGES[:2]]


def test_cohere_ranks_by_the_fields_that_are_named(client: Any) -> None:
    documents = [{"title": "deep", "body": "sea"}, {"title": "other", "body": "words"}]
    answer = post(client, "/v1/rerank", query="deep sea", documents=documents, rank_fields=["title", "body"])
    assert [row["relevance_score"] for row in answer["results"]] == [1.0, 0.0]


@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
def test_cohere_embeds_by_type(path: str, client: Any, dense: Embeddings) -> None:
    options = {"texts": TEXTS, "input_type": "search_document", "model": "any", "truncate": None}
    answer = post(client, path, embedding_types=["float", "base64"], **options)
    np.testing.assert_array_equal(np.array(answer["embeddings"]["float"], np.float32), dense.dense_vecs)
    coded = [np.frombuffer(b64decode(row), "<f4") for row in answer["embeddings"]["base64"]]
    np.testing.assert_array_equal(np.array(coded), dense.dense_vecs)
    assert answer["texts"] == TEXTS
    assert list(post(client, path, **options)["embeddings"]) == ["float"]


def test_encode_gives_the_views_that_are_asked_for(client: Any, expected: Embeddings) -> None:
    answer = post(client, "/v1/encode", inputs=TEXTS, return_sparse=True, return_colbert_vecs=True)
    np.testing.assert_array_equal(np.array(answer["dense_vecs"], np.float32), expected.dense_vecs)
    assert expected.lexical_weights is not None
    assert expected.colbert_vecs is not None
    for found, weights in zip(answer["lexical_weights"], expected.lexical_weights, strict=True):
        assert {int(token): np.float32(weight) for token, weight in found.items()} == weights
    for rows, vectors in zip(answer["colbert_vecs"], expected.colbert_vecs, strict=True):
        np.testing.assert_array_equal(np.array(rows, np.float32), vectors)
    assert answer["n_tokens"] == expected.n_tokens.tolist()
    assert answer["truncated"] == [False] * 4
    sparse = post(client, "/v1/encode", inputs="x", return_dense=False, return_sparse=True)
    assert sparse.keys() == {"model", "lexical_weights", "n_tokens", "truncated"}


def test_encode_gives_npz_to_who_accepts_it(client: Any, expected: Embeddings) -> None:
    answer = client.post(
        "/v1/encode",
        json={"inputs": TEXTS, "return_sparse": True, "return_colbert_vecs": True},
        headers={"accept": "application/x-npz"},
    )
    assert answer.headers["content-type"] == "application/x-npz"
    arrays = np.load(io.BytesIO(answer.content))
    assert expected.sparse is not None
    assert expected.multi is not None
    np.testing.assert_array_equal(arrays["dense_vecs"], expected.dense_vecs)
    np.testing.assert_array_equal(arrays["sparse_values"], expected.sparse.values)
    np.testing.assert_array_equal(arrays["colbert_vecs"], expected.multi.vectors)


def test_what_is_cut_is_said_and_refused_on_demand(client: Any, tiny: M3Encoder) -> None:
    long = "word " * 2 * tiny.manifest.max_tokens
    assert post(client, "/v1/encode", inputs=["short", long])["truncated"] == [False, True]
    assert client.post("/embed", json={"inputs": [long, "short"]}).headers["x-truncated-texts"] == "1"
    for path, body in (
        ("/embed", {"inputs": ["short", long], "truncate": False}),
        ("/embed", {"inputs": ["short", long], "truncation_direction": "Left"}),
        ("/v2/embed", {"texts": ["short", long], "truncate": "NONE"}),
        ("/v2/embed", {"texts": ["short", long], "truncate": "START"}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 422
        assert "text 1" in answer.text
        assert client.post(path, json={**body, next(iter(body)): ["short"]}).status_code == 200


def test_documents_are_added_found_and_deleted(tiny: M3Encoder, index: HybridIndex) -> None:
    service = Service(tiny, reranker=SharedWords(tiny), indexes={"docs": index})
    with running(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/v1/documents").json()["indexes"]["docs"]["documents"] == 3
        documents = [{"id": "new", "text": "Ein neuer Turm", "metadata": {"lang": "de"}}, {"id": "sea", "text": "Meer"}]
        added = post(client, "/v1/documents", documents=documents)
        assert added == {"added": 2, "replaced": 1, "truncated": 0}
        result = post(client, "/v1/search", query="How tall is Tokyo Tower?", k=2, explain=True)
        index.refresh()
        expected = index.search("How tall is Tokyo Tower?", 2)
        assert [hit["id"] for hit in result["hits"]] == [hit.id for hit in expected]
        assert result["hits"][0]["scores"] == pytest.approx(dict(expected[0].scores), abs=INT8)
        assert result["hits"][0]["terms"]
        german = post(
            client, "/v1/search", query="Turm", index="docs", filter={"lang": "de"}, fusion="rrf", mode="hybrid"
        )
        assert {hit["id"] for hit in german["hits"]} == {"new", "pie"}
        reranked = post(client, "/v1/search", query="Apfelkuchen mit Senf", reranker=True)
        assert (reranked["hits"][0]["id"], reranked["hits"][0]["score"]) == ("pie", 2.0)
        deleted = client.request("DELETE", "/v1/documents", json={"ids": ["new", "nowhere"]})
        assert deleted.json() == {"deleted": 1}
        index.refresh()
        assert len(index) == 3
        missing = client.post("/v1/search", json={"query": "x", "index": "nowhere"})
        assert (missing.status_code, missing.json()["error"]["message"]) == (
            404,
            "index is 'nowhere', expected one of: docs",
        )
        assert client.post("/v1/search", json={"query": "x", "fusion": [0, 0, 0]}).status_code == 422


def test_openapi_names_every_route_and_body(client: Any) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/v1/encode", "/v1/embeddings", "/embed", "/rerank", "/v2/embed", "/v1/search", "/"} <= schema[
        "paths"
    ].keys()
    references = str(schema["paths"])
    assert all(name in schema["components"]["schemas"] for name in ("EncodeRequest", "RerankRequest", "Document"))
    assert "'#/components/schemas/EncodeRequest'" in references
