"""The mode "reranked": the best documents of the fused mode in the order of plain pair scores, and how long it took."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint
from extras import needs_eval
from m3rt_export import export

from m3rt import InputError, M3Encoder, M3Reranker
from m3rt.cli import main
from m3rt.embeddings import WEIGHTS
from m3rt.evaluation import MODES, LastStage, Task, evaluate, read_dataset, task
from m3rt.evaluation.report import conditions, gains, table, to_json
from m3rt.evaluation.views import embed

pytestmark = needs_eval

CANDIDATES = 6
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reranker")
    return export(write_checkpoint(folder / "checkpoint", kind="reranker"), folder / "bundle", precision="fp32").path


@pytest.fixture(scope="module")
def reranker(bundle: Path) -> M3Reranker:
    return M3Reranker(bundle, engine="onnxruntime", threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose halves ask for them; one is longer than the reranker takes."""
    folder = tmp_path_factory.mktemp("data") / "halves"
    folder.mkdir()
    bodies = [*sentences()[:19], " ".join(sentences())]
    for name, texts in (("corpus", bodies), ("queries", [text[: len(text) // 2] for text in bodies[:9]])):
        rows = (json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(texts))
        (folder / f"{name}.jsonl").write_text("".join(rows), "utf-8")
    (folder / "qrels.tsv").write_text("".join(f"d{i}\td{i}\t1\nd{i}\td{i + 10}\t2\n" for i in range(9)))
    return folder


def expected_rankings(encoder: M3Encoder, reranker: M3Reranker, labelled: Task, mode: str) -> list[list[int]]:
    """The order of the fused mode, of which the best come by one score of one pair after the other."""
    found = []
    everything = zip(labelled.data.queries.texts, embed(encoder, labelled, lambda n, t: None).each(), strict=True)
    for query, scores in everything:
        order = MODES[mode].rank(scores, np.ones(len(labelled.data.corpus), np.bool_), WEIGHTS).tolist()
        best, rest = order[:CANDIDATES], order[CANDIDATES:]
        logits = {d: reranker.compute_score((query, labelled.data.corpus.texts[d]))[0] for d in best}
        found.append([*sorted(best, key=lambda d: -logits[d]), *rest])
    return found


def ndcg(ranking: Sequence[int], grades: dict[int, int]) -> float:
    def gain(values: Sequence[int]) -> float:
        return sum(value / math.log2(place + 2) for place, value in enumerate(values[:10]))

    return gain([grades.get(d, 0) for d in ranking]) / gain(sorted(grades.values(), reverse=True))


def test_the_best_of_all_views_come_in_the_rerankers_order_and_the_rest_follows(
    fp32: M3Encoder, reranker: M3Reranker, data: Path
) -> None:
    labelled = task(read_dataset(data))
    found = evaluate(fp32, labelled, last_stage=LastStage(reranker, CANDIDATES))
    assert [*found.modes] == [*MODES, "reranked"]
    rankings = expected_rankings(fp32, reranker, labelled, "all")
    expected = [ndcg(ranking, dict(labelled.data.relevant[i])) for i, ranking in enumerate(rankings)]
    np.testing.assert_allclose(found.modes["reranked"]["nDCG@10"], expected, atol=1e-6)
    assert found.mean("reranked", "Recall@100") == found.mean("all", "Recall@100")
    assert found.mean("reranked") != found.mean("all")
    plain = evaluate(fp32, labelled)
    assert {mode: found.mean(mode) for mode in MODES} == {mode: plain.mean(mode) for mode in MODES}
    assert "reranked" not in plain.modes


def test_the_conditions_hold_the_stage_and_its_seconds(fp32: M3Encoder, reranker: M3Reranker, data: Path) -> None:
    labelled = task(read_dataset(data))
    passes: list[int] = []
    found = evaluate(
        fp32, labelled, last_stage=LastStage(reranker, 20), progress=lambda texts, tokens: passes.append(texts)
    )
    facts = found.to_json()
    assert facts["reranked"] == "best 20 of all"
    assert 0 < facts["rerank_s"]["p50"] <= facts["rerank_s"]["p95"]
    assert facts["cut_pairs"] == 9  # every query meets the long document
    assert sum(passes) == 20 + 9 + 9 * 20
    assert re.search(r", reranked: best 20 of all, [\d.]+ s a query \(p95 [\d.]+ s\), 9 pairs trunc", conditions(found))
    gap = gains([found])["reranked over all"]
    assert gap.mean == pytest.approx(found.mean("reranked") - found.mean("all"))
    assert any(line.startswith("reranked  ") for line in table([found]))
    assert to_json([found])["mean"]["modes"]["reranked"]["nDCG@10"] == found.mean("reranked")


def test_a_dense_model_has_a_last_stage_too(checkpoint: Path, reranker: M3Reranker, data: Path, tmp_path: Path) -> None:
    encoder = M3Encoder(export(checkpoint, tmp_path / "d", precision="fp32", dense_only=True).path, threads=1)
    labelled = task(read_dataset(data))
    found = evaluate(encoder, labelled, last_stage=LastStage(reranker, CANDIDATES))
    assert found.conditions["reranked"] == f"best {CANDIDATES} of dense"
    rankings = expected_rankings(encoder, reranker, labelled, "dense")
    expected = [ndcg(ranking, dict(labelled.data.relevant[i])) for i, ranking in enumerate(rankings)]
    np.testing.assert_allclose(found.modes["reranked"]["nDCG@10"], expected, atol=1e-6)
    assert {*gains([found])} == {"reranked over dense"}


@pytest.mark.parametrize("candidates", [0, 101, 2.5, "many"])
def test_candidates_out_of_range_are_one_line(reranker: M3Reranker, candidates: Any) -> None:
    with pytest.raises(InputError, match=r"rerank_candidates is .*, expected (1\.\.100|a whole number)"):
        LastStage(reranker, candidates)


def test_the_command_shows_the_mode_in_table_json_and_chart(
    fp32: M3Encoder, bundle: Path, bundle_fp32: Path, data: Path, tmp_path: Path, capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("M3RT_THREADS", "1")
    monkeypatch.setenv("M3RT_ENGINE", "onnxruntime")
    chart = tmp_path / "chart.svg"
    args = ["eval", str(bundle_fp32), str(data), "--rerank", str(bundle), "--rerank-candidates", "6"]
    assert main([*args, "--bm25", "--against", str(bundle_fp32), "--chart", str(chart), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["datasets"][0]
    assert found["reranked"] == "best 6 of all"
    assert "difference" in found["modes"]["all"]
    assert {*found["gains"]} == {"all over " + best_view(found), "all over bm25", "reranked over all"}
    drawn = chart.read_text()
    assert all(f">{mode}<" in drawn for mode in ("bm25", *MODES, "reranked"))
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = next(line for line in lines if line.startswith("reranked  ")).split()
    assert shown[1] == f"{found['modes']['reranked']['nDCG@10']:.4f}"
    for wrong, words in (
        (["--rerank", str(bundle_fp32)], "open it with M3Encoder"),
        (["--rerank", str(bundle), "--rerank-candidates", "0"], "rerank_candidates is 0, expected 1..100"),
    ):
        assert main(["eval", str(bundle_fp32), str(data), *wrong]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"m3rt: error: [^\n]+\n", err)
        assert words in err


def best_view(found: dict[str, Any]) -> str:
    return max(("dense", "sparse", "colbert"), key=lambda view: found["modes"][view]["nDCG@10"])
