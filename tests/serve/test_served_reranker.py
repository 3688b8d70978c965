"""A served reranker: every dialect gives the scores that M3Reranker computes."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from checkpoints import write_checkpoint
from m3rt_export import export
from serving import running

from m3rt import HybridIndex, M3Encoder, M3Reranker
from m3rt.serve.limits import Limits
from m3rt.serve.service import Service

QUERY = "When does the ferry leave?"
PASSAGES = ["The ferry leaves at seven.", "Apfelkuchen", "東京タワー", "Seven ships."]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> M3Reranker:
    folder = tmp_path_factory.mktemp("reranker")
    checkpoint = write_checkpoint(folder / "checkpoint", kind="reranker")
    return M3Reranker(export(checkpoint, folder / "bundle", precision="fp32").path, threads=1)


@pytest.fixture(scope="module")
def client(reranker: M3Reranker) -> Iterator[httpx.Client]:
    with running(Service(M3Encoder(), reranker=reranker)) as url, httpx.Client(base_url=url) as client:
        yield client


def test_teis_and_coheres_routes_give_the_scores_of_the_reranker(client: httpx.Client, reranker: M3Reranker) -> None:
    scores = list(reranker.compute_score([(QUERY, passage) for passage in PASSAGES], normalize=True))
    order = sorted(range(len(PASSAGES)), key=lambda i: -scores[i])
    tei = client.post("/rerank", json={"query": QUERY, "texts": PASSAGES}).json()
    cohere = client.post("/v2/rerank", json={"model": "x", "query": QUERY, "documents": PASSAGES}).json()["results"]
    for rows, name in ((tei, "score"), (cohere, "relevance_score")):
        assert [row["index"] for row in rows] == order
        assert [row[name] for row in rows] == pytest.approx([scores[i] for i in order], abs=1e-5)


def test_raw_scores_are_the_logits(client: httpx.Client, reranker: M3Reranker) -> None:
    raw = client.post("/rerank", json={"query": QUERY, "texts": PASSAGES, "raw_scores": True}).json()
    logits = reranker.compute_score([(QUERY, passage) for passage in PASSAGES])
    assert {row["index"]: row["score"] for row in raw} == pytest.approx(dict(enumerate(logits)), abs=1e-5)


def test_a_bundle_of_the_other_kind_is_refused_when_the_server_starts(
    bundle_fp32: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from m3rt.cli import main

    assert main(["serve", "--reranker", str(bundle_fp32), "--port", "0"]) == 2
    assert "is a bundle of kind m3, expected reranker" in capsys.readouterr().err


def rerank(client: httpx.Client, path: str = "/rerank", **body: object) -> httpx.Response:
    return client.post(path, json={"query": QUERY, **body})


def test_pairs_that_are_cut_are_counted_and_refused_on_demand(client: httpx.Client, reranker: M3Reranker) -> None:
    texts = ["short", "word " * 2 * reranker.manifest.max_tokens]
    assert rerank(client, texts=texts).headers["x-truncated-texts"] == "1"
    assert rerank(client, texts=texts[:1], truncate=False).headers["x-truncated-texts"] == "0"
    for option in ({"truncate": False}, {"truncation_direction": "left"}):
        answer = rerank(client, texts=texts, **option)
        assert (answer.status_code, answer.json()["error"][:6]) == (422, "pair 1")
    assert "m3rt_truncated_texts_total 1.0" in client.get("/metrics").text


@pytest.mark.parametrize("kept", [1, 3, 10_000])
def test_max_tokens_per_doc_cuts_each_document_to_so_many_tokens(
    kept: int, client: httpx.Client, reranker: M3Reranker
) -> None:
    documents = ["The ferry leaves at seven in the morning.", "Seven"]
    answer = rerank(client, "/v2/rerank", documents=documents, max_tokens_per_doc=kept)
    found = {row["index"]: row["relevance_score"] for row in answer.json()["results"]}
    alone = len(reranker.tokenize(QUERY, ""))
    limit = min(alone + kept, reranker.manifest.max_tokens)
    ids = reranker.prepare([(QUERY, text) for text in documents], max_length=limit, query_max_length=alone)
    scores = reranker.compute_score(
        [(QUERY, text) for text in documents], max_length=limit, query_max_length=alone, normalize=True
    )
    assert [found[i] for i in range(2)] == pytest.approx(list(scores), abs=1e-5)
    assert answer.headers["x-truncated-texts"] == str(int(ids.tokens.truncated.sum()))
    assert rerank(client, "/v2/rerank", documents=documents, max_tokens_per_doc=0).status_code == 400


class Held:
    """A reranker whose passes wait for the test."""

    def __init__(self, reranker: M3Reranker) -> None:
        self.manifest, self.batch_tokens, self.prepare = reranker.manifest, 40, reranker.prepare
        self._reranker = reranker
        self.open = threading.Event()
        self.sizes: list[int] = []

    def compute_score(self, sentence_pairs: Any, **options: Any) -> Sequence[float]:
        self.sizes.append(sum(len(self._reranker.tokenize(*pair)) for pair in sentence_pairs))
        assert self.open.wait(60)
        return self._reranker.compute_score(sentence_pairs, **options)


def test_a_request_that_is_not_scored_in_time_is_a_503_while_a_pass_runs(reranker: M3Reranker) -> None:
    held = Held(reranker)
    with running(Service(M3Encoder(), reranker=held, limits=Limits(seconds=0.2))) as url:
        try:
            answer = httpx.post(f"{url}/rerank", json={"query": QUERY, "texts": PASSAGES}, timeout=30)
        finally:
            held.open.set()
        assert answer.status_code == 503
        assert answer.json()["error"] == "the pairs were not scored within 0.2 s; try again later"


def test_what_waits_is_bounded_by_its_tokens_and_runs_in_parts(reranker: M3Reranker) -> None:
    held = Held(reranker)
    cost = sum(len(reranker.tokenize(QUERY, passage)) for passage in PASSAGES)
    service = Service(M3Encoder(), reranker=held, limits=Limits(queue_tokens=2 * cost - 1))
    body = {"query": QUERY, "texts": PASSAGES}
    with running(service) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, f"{url}/rerank", json=body, timeout=60)
        try:
            while not held.sizes:
                time.sleep(0.01)
            answer = httpx.post(f"{url}/rerank", json=body)
        finally:
            held.open.set()
        assert answer.status_code == 429
        assert f"{cost} tokens of pairs wait" in answer.text
        assert first.result().status_code == 200
        assert len(held.sizes) > 1
        assert max(held.sizes) <= held.batch_tokens
        assert sum(held.sizes) == cost
        assert httpx.post(f"{url}/rerank", json={**body, "texts": PASSAGES * 2}).status_code == 413
        assert httpx.post(f"{url}/rerank", json=body).status_code == 200


def test_a_search_is_reranked_as_the_index_does_it(reranker: M3Reranker, tiny: M3Encoder, index: HybridIndex) -> None:
    index.add(["big"], ["Seven ships."], metadata=[{"n": 1 << 70}])
    expected = index.search(QUERY, 2, rerank=reranker)
    with running(Service(tiny, reranker=reranker, indexes={"docs": index})) as url:
        body = {"query": QUERY, "k": 2, "reranker": True}
        hits = httpx.post(f"{url}/v1/search", json=body, timeout=60).json()["hits"]
        everything = httpx.post(f"{url}/v1/search", json={**body, "k": 9}, timeout=60)
    assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
    assert {"fused", "reranker"} <= hits[0]["scores"].keys()
    for hit, other in zip(hits, expected, strict=True):
        assert hit["score"] == pytest.approx(other.score, abs=1e-4)
        assert hit["scores"].keys() == other.scores.keys()
    assert {hit["id"]: hit["metadata"] for hit in everything.json()["hits"]}["big"] == {"n": 1 << 70}
