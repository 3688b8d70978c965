"""A served reranker: every dialect gives the scores that M3Reranker computes."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from checkpoints import write_checkpoint
from m3rt_export import export
from serving import running

from m3rt import M3Encoder, M3Reranker
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
    assert "is a m3 bundle, expected reranker" in capsys.readouterr().err
