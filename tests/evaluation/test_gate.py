"""The quality gate: its numbers are held to plain loops; it keeps a result and refuses other models."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_checkpoint
from corpus import documents, embeddings
from extras import needs_eval
from m3rt_export import export

from m3rt.bundle import open_bundle
from m3rt.cli import main
from m3rt.evaluation import LIMITS, Difference, Fidelity, Gate, fidelity
from m3rt.evaluation.fidelity import built_in_texts, comparable

Captured = pytest.CaptureFixture[str]
LOOSE = [
    f"--limit={name}={-1 if name in ('cosine_mean', 'cosine_min', 'overlap', 'sparse_agreement') else 9}"
    for name in LIMITS
]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_THREADS", "1")
    monkeypatch.setenv("M3RT_ENGINE", "onnxruntime")


@pytest.fixture
def int8(bundle_int8: Path, tmp_path: Path) -> Path:
    """Make a copy whose manifest may change."""
    return shutil.copytree(bundle_int8, tmp_path / "int8")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    bodies = built_in_texts()[:20]
    (directory / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": str(i), "text": b}) + "\n" for i, b in enumerate(bodies))
    )
    (directory / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": str(i), "text": b[:20]}) + "\n" for i, b in enumerate(bodies))
    )
    (directory / "qrels.tsv").write_text("".join(f"{i}\t{i}\t1\n" for i in range(20)))
    return directory


def shaken(docs: Any, seed: int = 0) -> Any:
    """Return the documents with a little noise, and with a term of some exchanged for another."""
    random = np.random.default_rng(seed)
    noisy = []
    for doc in docs:
        dense = doc.dense + random.normal(0, 0.05, doc.dense.shape).astype(np.float32)
        terms = dict(doc.terms)
        if terms and random.random() < 0.5:
            terms.pop(next(iter(terms)))
        terms = {term: weight + float(random.uniform(0, 0.2)) for term, weight in terms.items()}
        noisy.append(
            type(doc)(dense / np.linalg.norm(dense), dict(sorted(terms.items())), doc.colbert * np.float32(0.97))
        )
    return noisy


def test_fidelity_is_its_definition() -> None:
    exact = documents(70, seed=1)
    rough = shaken(exact)
    result = fidelity(embeddings(rough), embeddings(exact))
    cosines = [float(a.dense @ b.dense) for a, b in zip(rough, exact, strict=True)]
    assert result.cosine_mean == pytest.approx(np.mean(cosines), abs=1e-6)
    assert result.cosine_min == pytest.approx(min(cosines), abs=1e-6)

    def nearest(docs: Any, i: int) -> set[int]:
        others = [j for j in range(len(docs)) if j != i]
        return {*sorted(others, key=lambda j: -float(docs[i].dense @ docs[j].dense))[:10]}

    overlaps = [len(nearest(rough, i) & nearest(exact, i)) / 10 for i in range(70)]
    assert result.overlap == pytest.approx(np.mean(overlaps))
    shares = [len({*a.terms} & {*b.terms}) / len(b.terms) for a, b in zip(rough, exact, strict=True) if b.terms]
    assert result.sparse_agreement == pytest.approx(np.mean(shares))  # no text has more than ten terms

    def score(query: Any, doc: Any) -> float:
        return float((query.colbert @ doc.colbert.T).max(axis=1).mean())

    gaps = [abs(score(rough[i], rough[j]) - score(exact[i], exact[j])) for i in range(70) for j in range(70)]
    assert result.colbert_error == pytest.approx(max(gaps), abs=1e-6)


def test_only_the_heaviest_terms_count() -> None:
    one, other = documents(2), documents(2)
    weights = {term: 1 - term / 100 for term in range(20)}
    one[0] = type(one[0])(one[0].dense, weights, one[0].colbert)
    other[0] = type(one[0])(one[0].dense, {**weights, 15: 2.0}, one[0].colbert)
    one[1] = other[1] = type(one[0])(one[0].dense, {}, one[0].colbert)  # a text without terms
    assert fidelity(embeddings(one), embeddings(other)).sparse_agreement == pytest.approx(0.9)


def test_a_bundle_is_true_to_itself() -> None:
    docs = embeddings(documents(30))
    result = fidelity(docs, docs)
    assert (result.overlap, result.sparse_agreement, result.colbert_error) == (1, 1, 0)
    assert result.cosine_min == pytest.approx(1)


def test_built_in_sentences_are_many_distinct_and_not_what_int8_is_calibrated_with() -> None:
    from m3rt_export.texts import GOLDEN_TEXTS, calibration_texts

    texts = built_in_texts()
    assert len({*texts}) == len(texts) == 300
    assert not {*texts} & {*calibration_texts(), *GOLDEN_TEXTS}
    assert comparable([*texts, *texts, "", " "]) == texts
    assert len(comparable(texts, limit=7)) == 7


def gate_of(change: Difference, **values: float) -> Gate:
    exact = {"cosine_mean": 1.0, "cosine_min": 1.0, "overlap": 1.0, "sparse_agreement": 1.0, "colbert_error": 0.0}
    return Gate("onnxruntime", "fp32", Fidelity(300, **{**exact, **values}), ("d",), {"all": change}, LIMITS)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("cosine_mean", 0.9995, 0.9994),
        ("cosine_min", 0.998, 0.997),
        ("overlap", 0.96, 0.95),
        ("sparse_agreement", 0.95, 0.94),
        ("colbert_error", 0.02, 0.03),
    ],
)
def test_each_number_passes_up_to_its_limit(name: str, good: float, bad: float) -> None:
    nothing = Difference(0, 0, 0)
    assert gate_of(nothing, **{name: good}).passed
    assert [check.name for check in gate_of(nothing, **{name: bad}).checks if not check.passed] == [name]


def test_a_loss_of_ndcg_counts_when_it_is_large_and_no_chance() -> None:
    assert gate_of(Difference(-0.002, -0.003, -0.001)).passed  # small
    assert gate_of(Difference(-0.02, -0.05, 0.01)).passed  # may be chance
    assert gate_of(Difference(0.02, 0.01, 0.03)).passed
    failed = gate_of(Difference(-0.02, -0.03, -0.01))
    assert [check.name for check in failed.checks if not check.passed] == ["ndcg_loss all"]
    assert not failed.to_json()["passed"]


@needs_eval
def test_verify_against_keeps_what_it_found_in_the_manifest(
    int8: Path, bundle_fp32: Path, dataset: Path, capsys: Captured
) -> None:
    before = {path.name: path.read_bytes() for path in int8.iterdir() if path.is_file()}
    assert main(["verify", str(int8), "--against", str(bundle_fp32), "--data", str(dataset), *LOOSE]) == 0
    out, err = capsys.readouterr()
    assert "onnxruntime beside fp32, 20 texts, data:" in out
    assert all(re.search(rf"^  {name} .* ok", out, re.MULTILINE) for name in LIMITS)
    assert err == ""
    manifest = open_bundle(int8).manifest
    assert manifest.fidelity is not None
    kept = manifest.fidelity["onnxruntime"]
    assert kept["passed"]
    assert kept["texts"] == 20
    assert set(kept["ndcg_change"]) == {
        "dense",
        "sparse",
        "colbert",
        "dense+sparse",
        "dense+sparse rrf",
        "all",
        "all rrf",
    }
    after = {path.name: path.read_bytes() for path in int8.iterdir() if path.is_file()}
    assert {name for name in after if after[name] != before.get(name)} == {"m3rt.json"}
    assert main(["info", str(int8)]) == 0
    assert f"onnxruntime, reference fp32, texts 20, cosine_mean {kept['cosine_mean']}, " in capsys.readouterr().out
    assert main(["verify", str(int8)]) == 0  # still whole


def test_a_failed_check_is_status_1_and_one_line(int8: Path, bundle_fp32: Path, capsys: Captured) -> None:
    strict = ["--limit", "cosine_mean=1.1", "--limit", "overlap=2"]
    assert main(["verify", str(int8), "--against", str(bundle_fp32), "--json", *LOOSE, *strict]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["passed"]  # its golden vectors are right
    assert not result["fidelity"]["onnxruntime"]["passed"]
    assert re.fullmatch(r"m3rt: error: cosine_mean on onnxruntime, overlap on onnxruntime: [^\n]+\n", err)


def test_the_reference_passes_beside_itself(bundle_fp32: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle_fp32, tmp_path / "copy")
    assert main(["verify", str(copy), "--against", str(bundle_fp32)]) == 0
    kept = (open_bundle(copy).manifest.fidelity or {})["onnxruntime"]
    assert (kept["cosine_min"], kept["overlap"], kept["colbert_error"]) == (1, 1, 0)


@needs_eval
def test_what_cannot_be_compared_is_one_line(int8: Path, bundle_fp32: Path, tmp_path: Path, capsys: Captured) -> None:
    other = export(write_checkpoint(tmp_path / "other", seed=7), tmp_path / "o", precision="fp32").path
    for args, words in (
        (["--against", str(other)], "exported from different files"),
        (["--against", str(tmp_path / "nowhere")], "does not exist"),
        (["--data", str(tmp_path)], "--data does nothing without --against"),
        (["--against", str(bundle_fp32), "--limit", "overlap"], "expected NAME=NUMBER"),
        (["--against", str(bundle_fp32), "--limit", "overlap=nan"], "expected NAME=NUMBER"),
        (["--against", str(bundle_fp32), "--limit", "speed=1"], "'speed' has no limit"),
        (["--against", str(bundle_fp32), "--data", str(tmp_path)], "has no corpus.jsonl"),
    ):
        assert main(["verify", str(int8), *args]) == 2
        out, err = capsys.readouterr()
        assert re.fullmatch(r"m3rt: error: [^\n]+\n", err)
        assert words in err
        assert out == ""
    assert open_bundle(int8).manifest.fidelity is None


def test_a_manifest_that_cannot_be_written_is_as_it_was(int8: Path, bundle_fp32: Path, capsys: Captured) -> None:
    before = (int8 / "m3rt.json").read_bytes()
    (int8 / f".m3rt.json.{os.getpid()}").mkdir()  # in the way, also of root
    assert main(["verify", str(int8), "--against", str(bundle_fp32), *LOOSE]) == 0
    assert re.fullmatch(
        r"m3rt: warning: [^\n]+ cannot be written: [^\n]+; it is as it was; the result is not kept\n",
        capsys.readouterr().err,
    )
    assert (int8 / "m3rt.json").read_bytes() == before


def test_export_can_verify_and_leaves_only_the_bundle(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "bundles" / "int8"
    status = main(["export", str(checkpoint), str(out), "--verify", "--engine", "onnxruntime"])
    printed, progress = capsys.readouterr()
    assert printed == f"{out}\n"
    assert os.listdir(out.parent) == ["int8"]
    kept = (open_bundle(out).manifest.fidelity or {})["onnxruntime"]
    assert kept["texts"] == 300
    assert status == (0 if kept["passed"] else 1)
    assert "m3rt:   cosine_mean" in progress
    assert main(["export", str(checkpoint), str(tmp_path / "b"), "--verify", "--precision", "fp32"]) == 2
    assert "compares with fp32, which this export is" in capsys.readouterr().err
