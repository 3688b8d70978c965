"""The command line with rerankers: export, info, verify, rerank; and one line where a bundle is of the other kind."""

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import sentences
from commands import Captured, error_of

from m3rt import M3Reranker
from m3rt.bundle import open_bundle
from m3rt.cli import main

QUERY, PASSAGES = sentences()[0], [*sentences()[1:9], "x" * 30 + " y" * 200]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_THREADS", "1")
    monkeypatch.setenv("M3RT_ENGINE", "onnxruntime")


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    rows = [json.dumps({"id": f"p{i}", "text": text}) for i, text in enumerate(PASSAGES)]
    path = tmp_path / "passages.jsonl"
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


def test_rerank_prints_the_best_passages_with_their_ids(
    capsys: Captured, bundles: dict[str, Path], reranker: M3Reranker, passages: Path
) -> None:
    assert main(["rerank", str(bundles["reranker"]), QUERY, "-i", str(passages), "-k", "3"]) == 0
    out, err = capsys.readouterr()
    expected = reranker.rank(QUERY, PASSAGES, 3)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["index"] for row in rows] == [r.index for r in expected]
    assert [row["id"] for row in rows] == [f"p{r.index}" for r in expected]
    assert [row["text"] for row in rows] == [PASSAGES[r.index] for r in expected]
    assert [row["score"] for row in rows] == pytest.approx([r.score for r in expected], abs=1e-5)
    assert err.endswith("1 of 9 pairs cut to 128 tokens\n")


def test_rerank_takes_limits_and_gives_shares(
    capsys: Captured, bundles: dict[str, Path], reranker: M3Reranker, passages: Path
) -> None:
    limits = ["--normalize", "--max-length", "20", "--query-max-length", "5"]
    assert main(["rerank", str(bundles["reranker"]), QUERY, "-i", str(passages), *limits]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = reranker.rank(QUERY, PASSAGES, normalize=True, max_length=20, query_max_length=5)
    assert [row["score"] for row in rows] == pytest.approx([r.score for r in expected], abs=1e-5)
    assert [row["truncated"] for row in rows] == [r.truncated for r in expected]


def test_a_reranker_is_exported_shown_and_verified(
    capsys: Captured, rerankers: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    assert main(["export", str(rerankers["bert-reranker"]), str(out)]) == 0
    manifest = open_bundle(out).manifest
    assert (manifest.kind, manifest.precision, manifest.labels) == ("reranker", "int8", 1)
    capsys.readouterr()
    assert main(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "kind       reranker\n" in shown
    assert "labels     1 logit for each pair of texts\n" in shown
    assert "scores     0 to 1, the logit's sigmoid\n" in shown
    assert "token_type_ids int64 (batch, tokens)\n" in shown
    assert "dense" not in shown
    assert main(["verify", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["texts"] == 10
    assert set(result["differences"]) == {"logits", "input_ids"}


@pytest.mark.parametrize("damage", ["logits", "ids", "file"])
def test_verify_tells_golden_pairs_that_are_not_met(
    capsys: Captured, bundles: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    copy = shutil.copytree(bundles["reranker"], tmp_path / "copy")
    golden = json.loads((copy / "golden.json").read_text("utf-8"))
    if damage == "logits":
        golden[3]["logits"][0] += 0.01
    elif damage == "ids":
        golden[3]["input_ids"][1] += 1
    else:
        golden = [{"query": "a"}]
    (copy / "golden.json").write_text(json.dumps(golden), "utf-8")
    rehash(copy, "golden.json")
    status = main(["verify", str(copy)])
    err = capsys.readouterr().err
    if damage == "file":
        assert status == 2
        assert "golden.json is damaged" in err
    else:
        assert status == 1
        assert ("logits" if damage == "logits" else "input_ids") + " differ from what" in err


def rehash(bundle: Path, name: str) -> None:
    """Let the manifest say what a file has become."""
    from dataclasses import asdict

    from m3rt.host.files import record

    manifest = json.loads((bundle / "m3rt.json").read_text("utf-8"))
    manifest["files"][name] = asdict(record(bundle / name))
    (bundle / "m3rt.json").write_text(json.dumps(manifest), "utf-8")


def test_a_bundle_of_the_other_kind_is_one_line(
    capsys: Captured, bundles: dict[str, Path], bundle_fp32: Path, passages: Path
) -> None:
    assert "open it with M3Encoder" in error_of(capsys, "rerank", bundle_fp32, "a", "-i", passages)
    for args in (["encode", "a", "-m"], ["bench"], ["tune"]):
        assert "open it with M3Reranker" in error_of(capsys, *args, bundles["reranker"])


def test_bad_options_and_inputs_are_one_line(
    capsys: Captured, bundles: dict[str, Path], passages: Path, tmp_path: Path
) -> None:
    bundle, empty = bundles["reranker"], tmp_path / "empty.txt"
    empty.write_text("", "utf-8")
    assert "-k" in error_of(capsys, "rerank", bundle, "a", "-i", passages, "-k", 0)
    assert "max_length is 400, expected 1..128" in error_of(
        capsys, "rerank", bundle, "a", "-i", passages, "--max-length", 400
    )
    assert "holds no passages" in error_of(capsys, "rerank", bundle, "a", "-i", empty)
    assert "--input" in error_of(capsys, "rerank", bundle, "a")
