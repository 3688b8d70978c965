"""A search that ends with a reranker: it reads the best documents of the views, and has the last word."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import sentences

from m3rt import HybridIndex, InputError, M3Encoder, M3Reranker, SearchResult
from m3rt.cli import main

TEXTS = sentences()[:40]
QUERY = sentences()[3]


@pytest.fixture(scope="module")
def index(fp32: M3Encoder, tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    index = HybridIndex.create(tmp_path_factory.mktemp("index") / "index", fp32, colbert="int8")
    index.add([f"d{i}" for i in range(len(TEXTS))], TEXTS, metadata=[{"even": i % 2 == 0} for i in range(len(TEXTS))])
    return index


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result]


@pytest.mark.parametrize("options", [{}, {"mode": "dense"}, {"filter": {"even": True}}, {"fusion": "rrf"}], ids=str)
def test_the_best_of_the_views_come_in_the_rerankers_order(
    index: HybridIndex, reranker: M3Reranker, options: dict[str, Any]
) -> None:
    before = index.search(QUERY, 8, **options)
    found = index.search(QUERY, 5, rerank=reranker, rerank_candidates=8, **options)
    ranked = reranker.rank(QUERY, [hit.text or "" for hit in before], 5)
    assert ids(found) == [before[r.index].id for r in ranked]
    for hit, place in zip(found, ranked, strict=True):
        assert hit.score == hit.scores["reranker"] == pytest.approx(place.score, abs=1e-5)
        old = before[place.index]
        fused = {} if "mode" in options else {"fused": old.score}
        assert hit.scores == {**old.scores, **fused, "reranker": hit.score}
    assert found.seconds["rerank"] > 0
    assert "rerank" not in before.seconds


def test_as_many_are_reranked_as_are_wanted_at_least(index: HybridIndex, reranker: M3Reranker) -> None:
    found = index.search(QUERY, 12, rerank=reranker, rerank_candidates=2)
    assert ids(found) == ids(index.search(QUERY, 12, rerank=reranker, rerank_candidates=12))
    assert sorted(ids(found)) == sorted(ids(index.search(QUERY, 12)))


def test_many_queries_get_what_one_gets(index: HybridIndex, reranker: M3Reranker) -> None:
    queries = sentences()[50:54]
    found = index.search_batch(queries, 4, rerank=reranker)
    assert [ids(result) for result in found] == [ids(index.search(query, 4, rerank=reranker)) for query in queries]


def test_pairs_that_are_cut_are_counted(fp32: M3Encoder, reranker: M3Reranker, tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", fp32)
    index.add(["long", "short"], [" ".join(sentences()), "ferry"])
    assert index.search("ferry", rerank=reranker).cut_pairs == 1
    assert index.search("ferry").cut_pairs == 0


def test_what_a_reranker_cannot_read_is_one_line(
    index: HybridIndex, reranker: M3Reranker, fp32: M3Encoder, tmp_path: Path
) -> None:
    query = fp32.encode(QUERY, return_sparse=True, return_colbert_vecs=True)
    with pytest.raises(InputError, match="embeddings hold no text, which a reranker reads"):
        index.search(query, rerank=reranker)
    bare = HybridIndex.create(tmp_path / "index", fp32)
    bare.add(["a"], embeddings=fp32.encode(["ferry"], return_sparse=True))
    with pytest.raises(InputError, match="document 'a' has no text, which a reranker reads"):
        bare.search("ferry", rerank=reranker)
    for wrong in (fp32, "bge-reranker", None):
        with pytest.raises(InputError, match=r"rerank is .*, expected True, False or an M3Reranker") as caught:
            index.search(QUERY, rerank=wrong)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"rerank_candidates is 0, expected 1\.\."):
        index.search(QUERY, rerank=reranker, rerank_candidates=0)


def test_the_command_reranks_too(
    capsys: pytest.CaptureFixture[str], index: HybridIndex, bundles: dict[str, Path], bundle_fp32: Path,
    reranker: M3Reranker, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("M3RT_THREADS", "1")
    monkeypatch.setenv("M3RT_ENGINE", "onnxruntime")
    args = ["search", str(index.path), QUERY, "-k", "3", "--json"]
    assert main([*args, "--rerank", str(bundles["reranker"]), "--rerank-candidates", "6"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = index.search(QUERY, 3, rerank=reranker, rerank_candidates=6)
    assert [hit["id"] for hit in found["hits"]] == ids(expected)
    assert set(found["hits"][0]["scores"]) == {"dense", "sparse", "colbert", "fused", "reranker"}
    assert found["seconds"]["rerank"] > 0
    for wrong, message in (
        (["--rerank", str(bundle_fp32)], "open it with M3Encoder"),
        (["--rerank", "x", "--no-colbert"], "Expected --rerank or --no-colbert, not both."),
    ):
        assert main([*args, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_a_context_ends_with_the_reranker(
    capsys: pytest.CaptureFixture[str], index: HybridIndex, bundles: dict[str, Path], reranker: M3Reranker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    expected = index.search(QUERY, 4, rerank=reranker)
    found = index.context(QUERY, k=4, rerank=reranker)
    assert [(p.id, p.text) for p in found.passages] == [(hit.id, hit.text) for hit in expected]
    monkeypatch.setenv("M3RT_THREADS", "1")
    monkeypatch.setenv("M3RT_ENGINE", "onnxruntime")
    assert main(["context", str(index.path), QUERY, "-k", "4", "--rerank", str(bundles["reranker"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == found.text
