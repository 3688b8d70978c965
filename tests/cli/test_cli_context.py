"""m3rt context: an index and a question in, a text for a prompt or JSON out."""

import json
import re
from pathlib import Path

import pytest
from checkpoints import sentences

from m3rt import HybridIndex, M3Encoder
from m3rt.cli import main

QUESTION = sentences()[3]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_THREADS", "1")


@pytest.fixture(scope="module")
def index(fp32: M3Encoder, tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    index = HybridIndex.create(tmp_path_factory.mktemp("index") / "index", fp32, chunk_tokens=32, chunk_overlap=8)
    texts = [". ".join(sentences()[first : first + 6]) for first in range(0, 30, 6)]
    index.add([f"d{i}" for i in range(5)], texts, metadata=[{"n": i} for i in range(5)])
    return index


def test_the_text_goes_to_stdout_and_what_did_not_fit_to_stderr(index: HybridIndex, capsys: Captured) -> None:
    assert main(["context", str(index.path), QUESTION, "--tokens", "120"]) == 0
    out, err = capsys.readouterr()
    found = index.context(QUESTION, 120)
    assert out == f"{found.text}\n"
    assert err == f"m3rt: {found.left_out} of {len(found.result)} chunks did not fit into 120 tokens\n"


def test_json_holds_the_context(index: HybridIndex, capsys: Captured) -> None:
    options = ["--tokens", "90", "-k", "5", "--mode", "dense", "--filter", "n=0", "--filter", "n=2", "--json"]
    assert main(["context", str(index.path), QUESTION, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = json.loads(json.dumps(index.context(QUESTION, 90, k=5, mode="dense", filter={"n": [0, 2]}).to_json()))
    assert {*found["seconds"]} == {*expected["seconds"]}
    scores = [passage.pop("score") for passage in found["passages"]]
    assert scores == pytest.approx([passage.pop("score") for passage in expected["passages"]], rel=1e-5)
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}
    assert {passage["id"] for passage in found["passages"]} <= {"d0", "d2"}


def test_nothing_found_is_said_and_no_failure(index: HybridIndex, capsys: Captured) -> None:
    assert main(["context", str(index.path), QUESTION, "--filter", "n=9"]) == 0
    assert capsys.readouterr() == ("", "m3rt: nothing found\n")
    assert main(["context", str(index.path), QUESTION, "--filter", "n=9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"] == []


def test_what_cannot_be_done_is_one_line(
    index: HybridIndex, bundle_fp32: Path, tmp_path: Path, capsys: Captured
) -> None:
    for args, words in (
        ([index.path, QUESTION, "--tokens", "0"], "tokens is 0, expected 32.."),
        (
            [index.path, QUESTION, "--tokens", "32", "-k", "1"],
            "none of 1 chunk with its heading fits into 32 tokens; give more tokens",
        ),
        ([index.path, QUESTION, "--filter", "n"], "--filter is 'n', expected FIELD=VALUE"),
        ([index.path, QUESTION, "--rerank", bundle_fp32], "open it with M3Encoder"),
        ([index.path, ""], "is empty, expected words to search for"),
        ([tmp_path / "nowhere", QUESTION], "nowhere"),
        ([index.path], "Missing argument 'QUESTION'"),
    ):
        assert main(["context", *map(str, args)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"m3rt: error: [^\n]+\n", err)
        assert words in err
