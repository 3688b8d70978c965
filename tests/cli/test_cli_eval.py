"""m3rt eval: data sets in, tables, JSON and charts out."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from checkpoints import sentences
from extras import needs_eval

from m3rt import M3Encoder
from m3rt.cli import main
from m3rt.evaluation import MODES, evaluate, read_dataset, task

pytestmark = needs_eval

Captured = pytest.CaptureFixture[str]
NAMES = ("nDCG@10", "Recall@100", "MRR@10")


@pytest.fixture(autouse=True)
def model(bundle_fp32: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M3RT_THREADS", "1")
    return bundle_fp32


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return dataset(tmp_path / "halves", sentences()[:24])


def dataset(directory: Path, bodies: list[str]) -> Path:
    """Texts of two languages, whose first halves ask for them."""
    directory.mkdir()
    rows = [
        {"id": f"d{i}", "text": text, "lang": "de" if i % 2 else "en", "group": f"g{i // 2}"}
        for i, text in enumerate(bodies)
    ]
    write(directory / "corpus.jsonl", rows)
    write(directory / "queries.jsonl", [{**row, "text": row["text"][: len(row["text"]) // 2]} for row in rows])
    (directory / "qrels.tsv").write_text("".join(f"d{i}\td{i}\t1\n" for i in range(len(bodies))))
    return directory


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def result(capsys: Captured, *args: object) -> dict[str, Any]:
    assert main(["eval", *map(str, args), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_json_holds_what_evaluate_measures(model: Path, data: Path, fp32: M3Encoder, capsys: Captured) -> None:
    found = result(capsys, model, data)["datasets"][0]
    expected = evaluate(fp32, task(read_dataset(data)))
    assert {*found["modes"]} == {*MODES}
    for mode, values in found["modes"].items():
        assert {name: values[name] for name in NAMES} == {name: expected.mean(mode, name) for name in NAMES}
        assert values["by_language"] == expected.by_language(mode)
    assert (found["documents"], found["queries"], found["truncated"]) == (24, 24, 0)
    assert found["colbert"] == "all documents"


def test_the_table_has_every_mode_and_the_mean_of_the_data_sets(
    model: Path, data: Path, tmp_path: Path, capsys: Captured
) -> None:
    other = dataset(tmp_path / "more", sentences()[24:40])
    assert main(["eval", str(model), str(data), str(other), "--bm25"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    parts = out.split("\n\n")
    assert parts[0].startswith("halves: 24 documents, 24 queries, ")
    assert parts[1].startswith("more: 16 documents, 16 queries, ")
    assert parts[2].startswith("mean of 2 data sets")
    means = result(capsys, model, data, other, "--bm25")
    for part, entry in zip(parts, [*means["datasets"], means["mean"]], strict=True):
        for mode in ("bm25", *MODES):
            line = next(line for line in part.splitlines() if line.startswith(f"{mode:<17} "))
            assert line[17:].split() == [f"{entry['modes'][mode][name]:.4f}" for name in NAMES]
        assert re.search(r"^all over bm25: [+-]\d\.\d{4} \[[+-]\d\.\d{4}, [+-]\d\.\d{4}\]$", part, re.MULTILINE)
    assert "de " in parts[0]
    both = [entry["modes"]["all"]["MRR@10"] for entry in means["datasets"]]
    assert means["mean"]["modes"]["all"]["MRR@10"] == pytest.approx(sum(both) / 2)


def test_a_bundle_against_itself_differs_by_nothing_and_from_another_by_its_difference(
    model: Path, bundle_int8: Path, data: Path, capsys: Captured
) -> None:
    same = result(capsys, model, data, "--against", model)["datasets"][0]
    assert all(mode["difference"] == {"mean": 0, "low": 0, "high": 0} for mode in same["modes"].values())
    found = result(capsys, bundle_int8, data, "--against", model)["mean"]
    for mode, values in found["modes"].items():
        gap = values["difference"]
        assert values["against"] == same["modes"][mode]["nDCG@10"]
        assert gap["mean"] == pytest.approx(values["nDCG@10"] - values["against"])
        assert gap["low"] <= gap["mean"] <= gap["high"]


def test_across_languages_the_own_text_is_no_candidate(model: Path, data: Path, capsys: Captured) -> None:
    found = result(capsys, model, data, "--cross-lingual")
    assert found["cross_lingual"]
    modes = found["datasets"][0]["modes"]
    # Twelve candidates, of which one is the pair: all are found, few of them first.
    assert modes["dense"]["Recall@100"] == 1
    assert modes["dense"]["nDCG@10"] < 0.9


def test_of_two_languages_the_other_is_all_others(model: Path, data: Path, capsys: Captured) -> None:
    pairs, together = (result(capsys, model, data, option) for option in ("--language-pairs", "--cross-lingual"))
    assert pairs["language_pairs"]
    assert pairs["mean"]["modes"] == together["mean"]["modes"]
    assert main(["eval", str(model), str(data), "--language-pairs", "--cross-lingual"]) == 2
    assert "or --language-pairs, not both. See: m3rt eval --help" in capsys.readouterr().err


def test_weights_are_tuned_on_the_split_dev_and_used(model: Path, data: Path, tmp_path: Path, capsys: Captured) -> None:
    dev = dataset(tmp_path / "dev", sentences()[40:60])
    assert main(["eval", str(model), str(data), "--tune-weights", str(dev), "--json"]) == 0
    out, err = capsys.readouterr()
    weights = json.loads(out)["weights"]
    assert weights["dense"] == 1
    shown = rf"m3rt: weights dense 1, sparse {weights['sparse']:g}, colbert {weights['colbert']:g}: nDCG@10 [^\n]+\n"
    assert re.fullmatch(shown, err)
    expected = evaluate(M3Encoder(model, threads=1), task(read_dataset(data)), weights=weights)
    assert json.loads(out)["datasets"][0]["modes"]["all"]["nDCG@10"] == expected.mean("all")


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_chart_is_drawn(suffix: str, model: Path, data: Path, tmp_path: Path, capsys: Captured) -> None:
    chart = tmp_path / f"chart.{suffix}"
    assert main(["eval", str(model), str(data), "--max-queries", "4", "--chart", str(chart)]) == 0
    head = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix]
    assert chart.read_bytes().startswith(head)
    if suffix == "svg":
        assert all(word in chart.read_text() for word in ("nDCG@10", "halves", *MODES))
    notes = capsys.readouterr().err
    assert notes == f"m3rt: halves: 4 of 24 queries, drawn with a fixed seed\nm3rt: {chart} written\n"


def test_flaws_are_lines_and_the_run_goes_on(model: Path, data: Path, capsys: Captured) -> None:
    with (data / "qrels.tsv").open("a") as file:
        file.write("d1\tnowhere\t1\nnobody\td1\t1\n")
    assert main(["eval", str(model), str(data)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "'nobody', of an unknown query" in lines[0]
    assert "'nowhere', of an unknown document" in lines[1]


def test_a_dense_bundle_has_one_mode(checkpoint: Path, data: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["export", str(checkpoint), str(tmp_path / "d"), "--precision", "fp32", "--dense-only"]) == 0
    capsys.readouterr()
    found = result(capsys, tmp_path / "d", data, "--bm25")["datasets"][0]
    assert {*found["modes"]} == {"dense", "bm25"}
    assert {*found["gains"]} == {"dense over bm25"}
    assert main(["eval", str(tmp_path / "d"), str(data), "--tune-weights", str(data)]) == 2
    assert "this bundle is dense only" in capsys.readouterr().err


def test_what_cannot_be_done_is_one_line_before_any_work(
    model: Path, data: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for args, words in (
        ([model, tmp_path], "has no corpus.jsonl"),
        ([tmp_path / "nowhere", data], "does not exist"),
        ([model, data, "--chart", "chart.gif"], "expected a name that ends in .svg, .png, .pdf"),
        ([model], "Missing argument 'DATASET...'"),
    ):
        assert main(["eval", *map(str, args)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"m3rt: error: [^\n]+\n", err)
        assert words in err
    for package in ("ir_measures", "bm25s", "matplotlib"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            args = ["eval", str(model), str(data), "--bm25", "--chart", str(tmp_path / "c.svg")]
            assert main(args) == 2
            assert 'pip install "m3rt[eval]"' in capsys.readouterr().err


def test_a_chart_does_not_follow_a_link_to_nowhere(model: Path, data: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "c.svg").symlink_to(tmp_path / "new.svg")
    assert main(["eval", str(model), str(data), "--chart", str(tmp_path / "c.svg")]) == 2
    assert "which is not there; remove the link" in capsys.readouterr().err
    assert not (tmp_path / "new.svg").exists()


def test_a_data_set_may_be_named_as_no_formula_is(model: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "a$^b$", sentences()[:4])
    assert main(["eval", str(model), str(data), "--chart", str(tmp_path / "c.svg")]) == 0
    assert "a$^b$" in (tmp_path / "c.svg").read_text("utf-8")
