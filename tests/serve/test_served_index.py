"""Documents that are posted: whole numbers stay exact, their texts take turns in the queue, deadlines hold."""

import threading
import time
from typing import Any

import pytest
from serving import running
from slow_engine import Slow, closed

from m3rt import HybridIndex, M3Encoder
from m3rt.serve.limits import Limits
from m3rt.serve.service import Service

pytest.importorskip("fastapi", reason="needs the 'server' extra")
httpx = pytest.importorskip("httpx")


def service_of(tiny: M3Encoder, engine: Slow, index: HybridIndex, **limits: Any) -> Service:
    encoder = M3Encoder.with_engine(tiny.bundle, engine)
    return Service(encoder, indexes={"docs": index}, limits=Limits(**limits))


@pytest.mark.parametrize("number", [1 << 70, -(1 << 65) - 1, (1 << 63) + 1, 1 << 53, 12345678901234567890123])
def test_whole_numbers_of_any_size_come_back_as_they_were_posted(
    number: int, tiny: M3Encoder, index: HybridIndex
) -> None:
    with running(Service(tiny, indexes={"docs": index})) as url:
        document = {"id": "big", "text": "Seven ships sail.", "metadata": {"n": number, "x": 0.1}}
        assert httpx.post(f"{url}/v1/documents", json={"documents": [document]}, timeout=60).status_code == 200
        answer = httpx.post(f"{url}/v1/search", json={"query": "ships", "filter": {"n": number}}, timeout=60)
    (hit,) = answer.json()["hits"]
    assert hit["metadata"] == document["metadata"]
    assert type(hit["metadata"]["n"]) is int


def test_a_number_too_long_for_python_is_one_line(client: Any) -> None:
    content = b'{"input": "x", "dimensions": ' + b"9" * 5000 + b"}"
    answer = client.post("/v1/embeddings", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the body is no JSON: ")


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/embeddings", {"input": "x", "truncate_prompt_tokens": 5}, "truncate_prompt_tokens is 5"),
        ("/v1/embeddings", {"input": "x", "late_chunking": True}, "late_chunking is True"),
        ("/v1/embeddings", {"input": "x", "task": "text-matching"}, "task is 'text-matching'"),
        ("/v2/embed", {"texts": ["x"], "max_tokens": 5}, "max_tokens is 5"),
        ("/v1/rerank", {"query": "x", "documents": ["y"], "max_chunks_per_doc": 10}, "max_chunks_per_doc is 10"),
        ("/rerank", {"query": "x", "documents": ["y"], "truncate_prompt_tokens": 9}, "truncate_prompt_tokens is 9"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name_unless_it_asks_for_nothing(
    path: str, body: dict[str, Any], name: str, client: Any
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert f"{name}, which this server does not do; " in answer.text
    assert client.post(path, json={**body, name.split()[0]: None}).status_code == 200


def test_scores_are_raw_where_a_client_asks_for_that(client: Any) -> None:
    body = {"query": "a b", "documents": ["b c"]}
    scores = [
        client.post("/rerank", json={**body, "raw_scores": raw}).json()["results"][0]["relevance_score"]
        for raw in (True, False, None)
    ]
    assert scores == [1.0, 0.5, 0.5]  # as SharedWords counts them


def test_documents_are_embedded_in_turns_with_other_texts(tiny: M3Encoder, slow: Slow, index: HybridIndex) -> None:
    service = service_of(tiny, slow, index)
    documents = [{"id": str(i), "text": f"document {i}"} for i in range(300)]
    with running(service) as url:
        closed(slow)
        answers: list[Any] = []
        post = lambda path, body: answers.append(httpx.post(f"{url}{path}", json=body, timeout=60))  # noqa: E731
        adding = threading.Thread(target=post, args=("/v1/documents", {"documents": documents}))
        adding.start()
        assert slow.entered.acquire(timeout=60)
        assert service.queue.texts > 200  # they wait there, beside whatever comes
        asking = threading.Thread(target=post, args=("/embed", {"inputs": "x"}))
        asking.start()
        slow.open.set()
        adding.join()
        asking.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        found = httpx.post(f"{url}/v1/search", json={"query": "document 299", "mode": "sparse"}, timeout=60).json()
    assert found["hits"][0]["id"] == "299"


def test_an_index_that_does_not_answer_in_time_is_a_503(tiny: M3Encoder, slow: Slow, index: HybridIndex) -> None:
    with running(service_of(tiny, slow, index, seconds=0.3)) as url:
        closed(slow)
        body = {"documents": [{"id": "late", "text": "too late"}]}
        answer = httpx.post(f"{url}/v1/documents", json=body, timeout=60)
        assert answer.status_code == 503
        line = "the index did not answer within 0.3 s; what has begun may still be written"
        assert answer.json()["error"]["message"] == line
        waiting = httpx.request("DELETE", f"{url}/v1/documents", json={"ids": ["pie"]}, timeout=60)
        assert waiting.json()["error"]["message"] == "the index did not answer within 0.3 s"
        slow.open.set()
    until = time.monotonic() + 60
    found: set[str] = set()
    while "late" not in found and time.monotonic() < until:  # it had begun, so that it is written
        found = {hit.id for hit in HybridIndex(index.path, tiny).search("late pie", 100, mode="dense").hits}
    assert {"late", "pie"} <= found  # the other one was given up
