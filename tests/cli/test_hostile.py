"""Strings of strangers, whatever they hold, reach no terminal as they are: neither from tables nor in JSON."""

import json
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import sentences
from extras import needs_eval
from hypothesis import given
from hypothesis import strategies as st

from m3rt import OutputError
from m3rt.bundle import open_bundle
from m3rt.cli import main
from m3rt.values.printable import plain, to_json

EVIL = "a\x1b[2J\x9b31m\u202e\u2066\u200b\U000e0041\u2028b\r\nc\x07\x7f\u061cd"
ONE_LINE = EVIL.replace("\r\n", "")
Captured = pytest.CaptureFixture[str]


def unsafe(text: str) -> set[str]:
    """Characters that a terminal could act on, by their Unicode category; line feeds and joiners are none."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {c for c in text if unicodedata.category(c) in kinds and c not in "\n\u200c\u200d"}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_THREADS", "1")


@pytest.fixture(scope="module")
def place(bundle_fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, documents and a data set whose every string is hostile."""
    directory = tmp_path_factory.mktemp("hostile") / EVIL
    directory.mkdir()
    shutil.copytree(bundle_fp32, directory / "bundle")
    manifest = open_bundle(bundle_fp32).manifest
    source = replace(manifest.source, id=EVIL, revision=EVIL)
    found = {EVIL: {EVIL: EVIL, "list": [EVIL]}}
    evil = replace(manifest, source=source, fidelity=found, prompts={"query": EVIL, "passage": EVIL})
    (directory / "bundle" / "m3rt.json").write_text(json.dumps(json.loads(evil.to_json())), "utf-8")
    rows = [
        {"_id": f"{ONE_LINE}{i}", "text": f"{EVIL} {text}", "title": EVIL, "lang": EVIL * (i % 2), EVIL: EVIL}
        for i, text in enumerate(sentences()[:8])
    ]
    data = directory / EVIL[:9]
    data.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (data / "corpus.jsonl").write_text(lines)
    (data / "queries.jsonl").write_text(lines.replace('"_id": "', '"_id": "q'))
    (data / "qrels.tsv").write_text("".join(f"q{row['_id']}\t{row['_id']}\t1\n" for row in rows))
    return directory


COMMANDS: dict[str, Callable[[Path], Sequence[object]]] = {
    "info": lambda p: ["info", p / "bundle"],
    "info as JSON": lambda p: ["info", p / "bundle", "--json"],
    "verify": lambda p: ["verify", p / "bundle"],
    "verify as JSON": lambda p: ["verify", p / "bundle", "--json"],
    "verify against": lambda p: ["verify", p / "bundle", "--against", p / "bundle"],
    "bench": lambda p: ["bench", p / "bundle", "--quick"],
    "tune": lambda p: ["tune", p / "bundle", "--seconds", 1],
    "encode": lambda p: ["encode", "-m", p / "bundle", "-i", corpus(p)],
    "encode to a file": lambda p: ["encode", "-m", p / "bundle", "-i", corpus(p), "-o", p / f"{EVIL}.npz"],
    "index build": lambda p: ["index", "build", p / "index", "-m", p / "bundle", "-i", corpus(p)],
    "index add": lambda p: ["index", "add", p / "index", "-m", p / "bundle", "-i", corpus(p)],
    "index info": lambda p: ["index", "info", p / "index", "--verify"],
    "index info as JSON": lambda p: ["index", "info", p / "index", "--json"],
    "search": lambda p: ["search", p / "index", EVIL, "-m", p / "bundle", "--explain"],
    "search as JSON": lambda p: ["search", p / "index", EVIL, "-m", p / "bundle", "--json"],
    "index compact": lambda p: ["index", "compact", p / "index"],
    "index delete": lambda p: ["index", "delete", p / "index", EVIL],
    "eval": lambda p: ["eval", p / "bundle", p / EVIL[:9], p / EVIL[:9], "--chart", p / f"{EVIL}.svg"],
    "eval as JSON": lambda p: ["eval", p / "bundle", p / EVIL[:9], "--json"],
    "export of none": lambda p: ["export", p / EVIL, p / EVIL],
    "a wrong option": lambda p: ["info", f"--{EVIL}"],
    "a wrong file": lambda p: ["encode", "-m", p / "bundle", "-i", p / f"{EVIL}.txt"],
    "a wrong field": lambda p: ["encode", "-m", p / "bundle", "-i", corpus(p), "--field", f"{EVIL}x"],
    "a wrong filter": lambda p: ["search", p / "index", "a", "-m", p / "bundle", "--filter", f"{EVIL}x=1"],
}
FAIL = {"export of none", "a wrong option", "a wrong file", "a wrong field", "a wrong filter"}


def corpus(place: Path) -> Path:
    return place / EVIL[:9] / "corpus.jsonl"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_eval if name.startswith("eval") else ()) for name in COMMANDS]
)
def test_no_command_prints_what_a_terminal_acts_on(name: str, place: Path, capsys: Captured) -> None:
    status = main([*map(str, COMMANDS[name](place))])
    out, err = capsys.readouterr()
    assert unsafe(out + err) == set()
    assert (status == 2) == (name in FAIL), err
    assert err.count("\n") == err.count("m3rt: ")  # each message is a line
    if name in ("info as JSON", "search as JSON", "index info as JSON", "eval as JSON", "verify as JSON"):
        found = json.loads(out, parse_constant=pytest.fail)
        assert name != "info as JSON" or (found["source"]["id"], found["fidelity"][EVIL]["list"]) == (EVIL, [EVIL])
        assert name != "search as JSON" or {hit["metadata"]["title"] for hit in found["hits"]} == {EVIL}


def test_an_export_tells_a_hostile_path_and_name_safely(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    shutil.copytree(checkpoint, tmp_path / EVIL)
    assert main(["export", str(tmp_path / EVIL), str(tmp_path / f"{EVIL}-out"), "--precision", "fp32"]) == 0
    out, err = capsys.readouterr()
    assert unsafe(out + err) == set()


@given(st.text())
def test_any_text_is_safe_on_one_line_and_survives_json(text: str) -> None:
    assert not unsafe(plain(text))
    assert "\n" not in plain(text)
    written = to_json({text: [text]}, indent=1)
    assert not unsafe(written)
    assert json.loads(written) == json.loads(json.dumps({text: [text]}))


@pytest.mark.parametrize(
    "text", ["naïve", "中文 東京", "می\u200cخواهم", "👩\u200d👩\u200d👧", "❤️", "葛\U000e0100", "हिन्दी", "Ünï�"]
)
def test_every_script_stays_readable(text: str) -> None:
    assert plain(text) == text
    assert to_json(text) == f'"{text}"'


def test_json_has_null_for_what_is_no_number() -> None:
    assert (
        to_json({"a": [float("nan"), float("inf"), 1.5], "b": (float("-inf"),)})
        == '{"a": [null, null, 1.5], "b": [null]}'
    )
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(OutputError, match="too deep"):
        to_json(deep)
