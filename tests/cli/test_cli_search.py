"""m3rt index and m3rt search: files in, ranked lists out, whatever stops a build on the way."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from checkpoints import sentences
from commands import Captured, error_of
from own_lines import own_lines
from pyarrow import parquet

from m3rt import HybridIndex, M3Encoder, OutputError
from m3rt.cli import main
from m3rt.evaluation import read_dataset
from m3rt.index.feed import Feed
from m3rt.input import TextFile

M3RT = str(Path(sysconfig.get_path("scripts")) / "m3rt")
LANGUAGES = ["de", "en", "sw"]
ROWS = [{"id": f"s{i}", "text": text, "lang": LANGUAGES[i % 3], "n": i} for i, text in enumerate(sentences()[:60])]


@pytest.fixture(autouse=True)
def model(bundle_fp32: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M3RT_MODEL", str(bundle_fp32))
    monkeypatch.setenv("M3RT_THREADS", "1")
    return bundle_fp32


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-8")
    return path


@pytest.fixture
def index(source: Path, tmp_path: Path, capsys: Captured) -> Path:
    run("index", "build", tmp_path / "index", "-i", source, "--colbert", "int8", "--commit-every", 25)
    assert re.fullmatch(
        r"m3rt: 60 documents added, none truncated, 60 in the index, [\d.]+ s, [\d,.]+ a second\n",
        capsys.readouterr().err,
    )
    return tmp_path / "index"


def run(*args: object) -> None:
    assert main([*map(str, args)]) == 0


def found(capsys: Captured, *args: object) -> dict[str, Any]:
    run("search", *args, "--json")
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_search_gives_what_the_index_gives(index: Path, fp32: M3Encoder, capsys: Captured) -> None:
    text = ROWS[4]["text"]
    result = found(capsys, index, text, "-k", 3, "--filter", "lang=en")
    wanted = HybridIndex(index, fp32).search(str(text), 3, filter={"lang": "en"}, explain=True)
    assert result["query"] == text
    assert [hit["id"] for hit in result["hits"]] == [hit.id for hit in wanted]
    for hit, other in zip(result["hits"], wanted, strict=True):
        assert hit["score"] == pytest.approx(other.score, rel=1e-5)
        assert hit["metadata"] == other.metadata
        assert hit["terms"] == pytest.approx(fp32.convert_id_to_token(other.terms or {}), rel=1e-4)
    assert result["hits"][0]["id"] == "s4"
    assert "total" in result["seconds"]


def test_options_reach_the_search(index: Path, capsys: Captured) -> None:
    text = ROWS[9]["text"]
    assert list(found(capsys, index, text, "--mode", "dense")["hits"][0]["scores"]) == ["dense"]
    assert "colbert" not in found(capsys, index, text, "--no-colbert")["hits"][0]["scores"]
    assert found(capsys, index, text, "--rrf")["hits"][0]["score"] < 3 / 60
    hit = found(capsys, index, text, "--weights", "0,0,1")["hits"][0]
    assert hit["score"] == pytest.approx(hit["scores"]["colbert"])
    assert len(found(capsys, index, text, "--candidates", 2, "-k", 2)["hits"]) == 2
    assert [h["id"] for h in found(capsys, index, text, "--filter", "n=9", "--filter", "lang=de")["hits"]] == ["s9"]


def test_people_see_rank_score_id_and_text_and_no_codes_without_a_terminal(index: Path, capsys: Captured) -> None:
    run("search", index, ROWS[4]["text"], "-k", 2)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"  1  \d+\.\d{4}  s4", lines[0])
    assert lines[1] == f"     {ROWS[4]['text']}"
    assert lines[2].startswith("  2  ")
    run("search", index, ROWS[4]["text"], "-k", 1, "--explain")
    out = capsys.readouterr().out
    assert re.search(r"  dense \d\.\d{3}  sparse \d+\.\d{3}  colbert \d\.\d{3}\n", out)
    assert re.search(r"\nms: encode [\d.]+, dense [\d.]+, .*total [\d.]+\n", out)
    assert "\x1b" not in out


def on_terminal(*args: object, **environment: str) -> str:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [M3RT, *map(str, args)], stdout=follower, env={**os.environ, "TERM": "xterm", **environment}
    )
    os.close(follower)
    parts = []
    try:
        while part := os.read(leader, 1 << 16):
            parts.append(part)
    except OSError:  # the other side has closed
        pass
    os.close(leader)
    assert process.wait() == 0
    return b"".join(parts).decode()


def test_a_terminal_shows_matched_words_bold_unless_it_must_not(index: Path) -> None:
    text = str(ROWS[4]["text"])
    assert f"\x1b[1m{text.split()[1]}\x1b[0m" in on_terminal("search", index, text, "-k", 1)
    assert "\x1b" not in on_terminal("search", index, text, "-k", 1, NO_COLOR="1")


def test_a_query_that_is_too_long_is_told(index: Path, capsys: Captured) -> None:
    run("search", index, "word " * 300, "-k", 1)
    assert capsys.readouterr().err == "m3rt: the query was cut to 128 tokens\n"


def test_an_id_takes_one_line_whatever_it_holds(tmp_path: Path, capsys: Captured) -> None:
    name = "a\nb\x1b[2J" + "c" * 10_000
    (tmp_path / "docs.jsonl").write_text(json.dumps({"id": name, "text": "a text"}))
    run("index", "build", tmp_path / "index", "-i", tmp_path / "docs.jsonl")
    run("search", tmp_path / "index", "text")
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"  1  \d\.\d{4}  a b \[2Jc+…", lines[0])
    assert len(lines[0]) < 140
    assert found(capsys, tmp_path / "index", "text")["hits"][0]["id"] == name


def test_nothing_found_is_said(index: Path, capsys: Captured) -> None:
    run("search", index, "word", "--filter", "lang=xx")
    assert capsys.readouterr().out == "nothing found\n"


def test_build_numbers_texts_without_ids_and_chunks_long_ones(tmp_path: Path, capsys: Captured) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("first text\n" + " ".join(sentences()) + "\n", "utf-8")
    run("index", "build", tmp_path / "whole", "-i", texts)
    assert "2 documents added, 1 truncated, which --chunk-tokens avoids" in capsys.readouterr().err
    assert found(capsys, tmp_path / "whole", "first text")["hits"][0]["id"] == "1"
    run("index", "build", tmp_path / "chunks", "-i", texts, "--chunk-tokens", 64, "--chunk-overlap", 8)
    assert re.search(r"2 documents added, \d\d chunks, none truncated", capsys.readouterr().err)
    hit = found(capsys, tmp_path / "chunks", sentences()[99], "-k", 1)["hits"][0]
    assert hit["id"] == "2"
    assert hit["text"] == " ".join(sentences())[slice(*hit["span"])]


def test_parquet_columns_are_kept_as_metadata(tmp_path: Path, capsys: Captured) -> None:
    rows = [{"_id": 7, "text": "a text", "on": date(2026, 1, 2), "price": Decimal("1.50"), "tags": ["x", "y"]}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "docs.parquet")
    run("index", "build", tmp_path / "index", "-i", tmp_path / "docs.parquet", "--id-field", "_id")
    capsys.readouterr()
    (hit,) = found(capsys, tmp_path / "index", "text", "--filter", "on=2026-01-02", "--filter", "price=1.50")["hits"]
    assert (hit["id"], hit["metadata"]) == ("7", {"on": "2026-01-02", "price": "1.50", "tags": ["x", "y"]})


def test_add_replaces_and_delete_deletes(index: Path, tmp_path: Path, capsys: Captured) -> None:
    more = tmp_path / "more.csv"
    more.write_text("name,body,lang\ns4,quite another text,fr\nnew,a new text,fr\n")
    run("index", "add", index, "-i", more, "--field", "body", "--id-field", "name")
    assert "2 documents added, 1 replaced, none truncated, 61 in the index" in capsys.readouterr().err
    hits = found(capsys, index, "quite another text", "--filter", "lang=fr")["hits"]
    assert {hit["id"]: hit["text"] for hit in hits} == {"s4": "quite another text", "new": "a new text"}
    run("index", "delete", index, "s4", "s5", "unknown")
    assert "2 of 3 ids deleted" in capsys.readouterr().err
    ids = tmp_path / "ids.txt"
    ids.write_text("s6\ns7\n")
    run("index", "delete", index, "-i", ids)
    assert len(HybridIndex(index)) == 57
    run("index", "compact", index)
    assert HybridIndex(index).info()["deleted_rows"] == 0


def test_info_tells_what_an_index_holds_and_verifies_it(index: Path, capsys: Captured) -> None:
    run("index", "info", index, "--verify")
    out = capsys.readouterr().out
    for fact in (
        "60 in 60 rows",
        "tiny-m3 fp32",
        "32 dimensions, int8",
        "lexical weights",
        "all match",
        "none: a text",
    ):
        assert fact in out
    run("index", "info", index, "--json")
    assert json.loads(capsys.readouterr().out) == HybridIndex(index).info()
    (file,) = (index / "segments" / "00000001").glob("dense.codes.npy")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert main(["index", "info", str(index), "--verify"]) == 1
    out, err = capsys.readouterr()
    assert "1 file differs" in out
    assert "dense.codes.npy has SHA-256" in err


def start(*args: object, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([M3RT, *map(str, args)], stderr=subprocess.PIPE, **options)


def documents_in(path: Path) -> int:
    return len(HybridIndex(path)) if (path / "index.json").exists() else 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_goes_on_where_it_was(
    end: signal.Signals, source: Path, index: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out"
    build = ("index", "build", out, "--colbert", "int8", "--commit-every", 2, "-i")
    process = start(*build, "-", "--input-format", "jsonl", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"".join(source.read_bytes().splitlines(keepends=True)[:20]))
    process.stdin.flush()  # and no more comes
    deadline = time.monotonic() + 60
    while documents_in(out) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(end)
    _, err = process.communicate()
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[end]
    if end == signal.SIGINT:
        assert re.search(rb"interrupted; \d+ documents in .*: the same command with the same input goes on", err)
    kept = documents_in(out)
    assert 4 <= kept <= 20
    run("index", "info", out)
    assert "incomplete" in capsys.readouterr().out
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "more", "text": "one more"}\n')
    run("index", "add", out, "-i", more)  # neither takes the build's place away
    run("index", "delete", out, "more")
    assert documents_in(out) == kept
    capsys.readouterr()
    for changed, message in (
        (("-i", source, "--dense", "float32", "--colbert", "int8"), "begun with another dense"),
        (("-i", edited(source), "--colbert", "int8"), "begun with other documents"),
    ):
        assert message in error_of(capsys, "index", "build", out, *changed)
    run(*build, source)
    assert f"{60 - kept} documents added after {kept} of an earlier run" in capsys.readouterr().err
    run("index", "info", out)
    assert "incomplete" not in capsys.readouterr().out
    for row in ROWS[::13]:
        one, two = (found(capsys, path, row["text"])["hits"] for path in (out, index))
        assert [hit["id"] for hit in one] == [hit["id"] for hit in two]
    assert "is an index already" in error_of(capsys, *build, source)


def edited(source: Path) -> Path:
    copy = source.with_name("edited.jsonl")
    copy.write_text(source.read_text("utf-8").replace(str(ROWS[0]["text"]), "another text"), "utf-8")
    return copy


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "document 2 has the id 'a' of an earlier one"),
        ('{"id": "a", "body": "x"}\n', "no 'text' among id, body; choose with --field"),
        ('{"id": "a", "text": 7}\n', "'text' is an int"),
        ('{"id": 7.5, "text": "x"}\n', "'id' is a float"),
        ('{"id": "a", "text": "x"}\n{"id": "", "text": "y"}\n', "document 2 has an empty 'id'"),
        ('{"bo\\u001b[2Jdy": "x"}\n', "no 'text' among bo [2Jdy;"),
    ],
)
def test_documents_that_are_none_are_named_before_any_work(
    lines: str, message: str, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(lines)
    assert message in error_of(capsys, "index", "build", tmp_path / "index", "-i", path)
    assert documents_in(tmp_path / "index") == 0


def test_bad_commands_are_one_line(index: Path, source: Path, tmp_path: Path, capsys: Captured) -> None:
    assert "query 0 is empty" in error_of(capsys, "search", index, " ")
    assert "k is 0" in error_of(capsys, "search", index, "a", "-k", "0")
    assert "field 'land', which no document" in error_of(capsys, "search", index, "a", "--filter", "land=de")
    assert "expected FIELD=VALUE" in error_of(capsys, "search", index, "a", "--filter", "lang")
    assert "three numbers such as" in error_of(capsys, "search", index, "a", "--weights", "1,x,2")
    assert "not both" in error_of(capsys, "search", index, "a", "--weights", "1,1,1", "--rrf")
    assert "does not exist" in error_of(capsys, "search", tmp_path / "nowhere", "a")
    assert "has no index.json" in error_of(capsys, "search", tmp_path, "a")
    assert "Expected either ID" in error_of(capsys, "index", "delete", index)
    assert "chunk_tokens is 7" in error_of(capsys, "index", "build", tmp_path / "x", "-i", source, "--chunk-tokens", 7)
    path = tmp_path / "texts.txt"
    path.write_text("no ids\n")
    assert "document 1 has no 'id'" in error_of(capsys, "index", "add", index, "-i", path)
    assert documents_in(index) == 60


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (["index"], ["build", "add", "delete", "info", "compact"]),
        (
            ["index", "build"],
            ["INDEX", "--model", "--input", "--id-field", "--colbert", "--chunk-tokens", "M3RT_MODEL"],
        ),
        (["index", "add"], ["replace", "--input", "--commit-every"]),
        (["index", "info"], ["--verify", "--json"]),
        (["search"], ["QUERY", "-k", "--mode", "--filter", "--rrf", "--weights", "--json", "--explain", "NO_COLOR"]),
    ],
)
def test_help_tells_options_without_loading_arrays(command: Sequence[str], names: Sequence[str]) -> None:
    script = (
        "import sys; from m3rt.cli import main; main(sys.argv[1:]); "
        "print({'numpy', 'numba', 'onnxruntime', 'tokenizers'} & {*sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stderr == "set()\n"
    assert [name for name in names if name not in done.stdout] == []


def test_an_index_and_an_evaluation_read_beir_s_corpus_alike(fp32: M3Encoder, tmp_path: Path, capsys: Captured) -> None:
    rows = [{"_id": "b", "id": "other", "title": "A title", "text": "a text"}, {"_id": "c", "title": "", "text": "two"}]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "text"}\n')
    (tmp_path / "qrels.tsv").write_text("q\tb\t1\n")
    run("index", "build", tmp_path / "index", "-i", tmp_path / "corpus.jsonl")
    hits = {hit.id: hit for hit in HybridIndex(tmp_path / "index", fp32).search("text")}
    data = read_dataset(tmp_path)
    assert {key: hit.text for key, hit in hits.items()} == dict(zip(data.corpus.ids, data.corpus.texts, strict=True))
    assert hits["b"].metadata == {"id": "other", "title": "A title"}
    run("index", "build", tmp_path / "bare", "-i", tmp_path / "corpus.jsonl", "--field", "text", "--id-field", "_id")
    assert {hit.text for hit in HybridIndex(tmp_path / "bare", fp32).search("text")} == {"a text", "two"}


def test_blank_lines_delete_nothing_and_unknown_ids_are_counted(index: Path, tmp_path: Path, capsys: Captured) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\ns1\n\n  \nnowhere\r\ns2\n")
    run("index", "delete", index, "-i", ids)
    assert capsys.readouterr().err == f"m3rt: 2 of 3 ids deleted from {index}; 1 not in it\n"
    (tmp_path / "ids.jsonl").write_text('{"_id": "s3", "text": "x"}\n{"id": "s4"}\n')
    run("index", "delete", index, "-i", tmp_path / "ids.jsonl")
    (tmp_path / "ids.csv").write_text("name,text\ns5,x\n")
    run("index", "delete", index, "-i", tmp_path / "ids.csv", "--id-field", "name")
    assert {f"s{i}" for i in range(1, 6)}.isdisjoint(hit.id for hit in HybridIndex(index).search("word", 60))
    assert len(HybridIndex(index)) == 55


def test_a_field_that_is_filtered_twice_finds_either_value(index: Path, capsys: Captured) -> None:
    run("search", index, "text", "-k", 60, "--filter", "lang=de", "--filter", "lang=en", "--filter", "n=4.0", "--json")
    assert [hit["id"] for hit in json.loads(capsys.readouterr().out)["hits"]] == ["s4"]
    run("search", index, "text", "-k", 60, "--filter", "lang=de", "--filter", "lang=en", "--json")
    assert {hit["metadata"]["lang"] for hit in json.loads(capsys.readouterr().out)["hits"]} == {"de", "en"}


NOTES: list[dict[str, Any]] = [
    {"complete": False},
    {"complete": False, "documents": "x", "sha256": ""},
    {"complete": False, "documents": -1, "sha256": ""},
    {"complete": False, "documents": 1e300, "sha256": ""},
    {"complete": False, "documents": 10**30, "sha256": ""},
    {"complete": False, "documents": True, "sha256": ""},
    {"complete": False, "documents": 1, "sha256": 7},
    {"complete": 0, "documents": 1, "sha256": ""},
    {"done": 7},
]


@pytest.mark.parametrize("note", NOTES, ids=str)
def test_a_note_that_no_build_leaves_is_no_build_to_go_on_with(
    note: dict[str, Any], source: Path, fp32: M3Encoder, tmp_path: Path, capsys: Captured
) -> None:
    HybridIndex.create(tmp_path / "out", fp32).add(["a"], ["one"], note=note)
    assert "is an index already" in error_of(capsys, "index", "build", tmp_path / "out", "-i", source)
    run("index", "info", tmp_path / "out")
    assert "incomplete" not in capsys.readouterr().out


def test_a_build_that_was_killed_before_its_first_documents_goes_on(
    source: Path, tmp_path: Path, capsys: Captured
) -> None:
    out, more = tmp_path / "out", tmp_path / "more.jsonl"
    process = start("index", "build", out, "-i", "-", "--input-format", "jsonl", stdin=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (out / "index.json").exists() or HybridIndex(out).note is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    more.write_text('{"id": "more", "text": "one more"}\n')
    run("index", "add", out, "-i", more)
    capsys.readouterr()
    run("index", "info", out)
    assert "incomplete 1 document so far: the same m3rt index build goes on" in capsys.readouterr().out
    run("index", "build", out, "-i", source)
    assert documents_in(out) == len(ROWS) + 1


def test_two_builds_of_one_index_do_not_mix(source: Path, tmp_path: Path) -> None:
    def feed() -> Feed:
        return Feed(TextFile(str(source), None, None, None, metadata=True, titles=True), 8)

    first, second = HybridIndex.create(tmp_path / "out"), HybridIndex(tmp_path / "out")
    feed().run(first)
    late = feed()
    with pytest.raises(OutputError, match=r"another m3rt builds .* too; let one end"):
        late.run(second)
    assert HybridIndex(tmp_path / "out").info() == first.info()


def test_an_instruction_set_that_is_none_is_one_line(index: Path) -> None:
    environment = os.environ | {"M3RT_ISA": "mmx"}
    done = subprocess.run([M3RT, "search", index, "text"], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"m3rt: error: M3RT_ISA is 'mmx', expected [^\n]+\n", own_lines(done.stderr))
