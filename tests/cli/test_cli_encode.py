"""m3rt encode: what M3Encoder gives, from any input to any output, whatever stops it on the way."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
from checkpoints import sentences
from commands import Captured
from own_lines import own_lines
from pyarrow import parquet

import m3rt.cli.parts.meter
from m3rt import M3Encoder
from m3rt.bundle import open_bundle
from m3rt.cli import main

M3RT = str(Path(sysconfig.get_path("scripts")) / "m3rt")
ALL = ["--sparse", "--colbert"]
LONG = "word " * 200
SUFFIXES = [".jsonl", ".npz", ".parquet"]


@pytest.fixture(autouse=True)
def model(bundle_fp32: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model and threads of every command here, given as containers give them."""
    monkeypatch.setenv("M3RT_MODEL", str(bundle_fp32))
    monkeypatch.setenv("M3RT_THREADS", "1")
    return bundle_fp32


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A plain file of 60 texts."""
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in (sentences() * 2)[:60]), "utf-8")
    return path


def encode(*args: object) -> None:
    assert main(["encode", *map(str, args)]) == 0


def rows_of(capsys: Captured, *args: object) -> list[dict[str, Any]]:
    encode(*args)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def error_of(capsys: Captured, *args: object) -> str:
    return commands.error_of(capsys, "encode", *args)


def start(*args: object, **options: Any) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([M3RT, "encode", *map(str, args)], **{**pipes, **options})


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finished_parts(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.partial").glob("[0-9]*.json")))


def test_stdout_has_a_line_of_json_for_each_text(fp32: M3Encoder, capsys: Captured) -> None:
    given = ["naïve 中文 🙂", "", LONG]
    rows = rows_of(capsys, *given, *ALL)
    out = fp32.encode(given, return_sparse=True, return_colbert_vecs=True)
    assert out.dense_vecs is not None
    assert out.colbert_vecs is not None
    assert out.lexical_weights is not None
    for i, row in enumerate(rows):
        assert list(row) == ["index", "dense_vecs", "lexical_weights", "colbert_vecs", "n_tokens", "truncated"]
        assert row["index"] == i
        np.testing.assert_allclose(row["dense_vecs"], out.dense_vecs[i], rtol=1e-6, atol=2e-6)
        np.testing.assert_allclose(row["colbert_vecs"], out.colbert_vecs[i], rtol=1e-6, atol=2e-6)
        assert row["lexical_weights"] == pytest.approx({str(t): w for t, w in out.lexical_weights[i].items()}, rel=1e-5)
        assert (row["n_tokens"], row["truncated"]) == (out.n_tokens[i], out.truncated[i])


def test_the_summary_says_what_was_cut_and_goes_to_stderr(capsys: Captured) -> None:
    encode("a", LONG)
    first = capsys.readouterr().err
    assert re.fullmatch(
        r"m3rt: 2 texts, 13\d tokens, 1 truncated to 128 tokens, [\d.]+ s, [\d.,]+ texts/s, [\d,]+ tokens/s\n", first
    )
    encode("a", LONG, "--max-length", 16)
    assert "1 truncated to 16 tokens" in capsys.readouterr().err
    encode("a")
    assert ", none truncated, " in capsys.readouterr().err


def test_each_view_can_be_asked_for_alone(capsys: Captured) -> None:
    always = {"index", "n_tokens", "truncated"}
    assert {*rows_of(capsys, "a")[0]} - always == {"dense_vecs"}
    assert {*rows_of(capsys, "a", "--no-dense", "--sparse")[0]} - always == {"lexical_weights"}
    assert {*rows_of(capsys, "a", "--no-dense", "--colbert")[0]} - always == {"colbert_vecs"}


@pytest.mark.filterwarnings("ignore:tiny-m3 was not trained")
def test_options_reach_the_encoder(fp32: M3Encoder, capsys: Captured) -> None:
    (row,) = rows_of(capsys, LONG, "--max-length", 9, "--truncate-dim", 4, "--batch-tokens", 64)
    out = fp32.encode(LONG, max_length=9, truncate_dim=4)
    assert out.dense_vecs is not None
    np.testing.assert_allclose(row["dense_vecs"], out.dense_vecs[0], atol=2e-6)
    assert row["n_tokens"] == 9


def test_query_and_passage_put_the_bundle_s_prompts_first(
    model: Path, fp32: M3Encoder, tmp_path: Path, capsys: Captured
) -> None:
    copy = tmp_path / "prompted"
    shutil.copytree(model, copy, copy_function=os.link)
    prompts = {"query": "find: ", "passage": "page: "}
    (copy / "m3rt.json").unlink()
    (copy / "m3rt.json").write_text(replace(open_bundle(model).manifest, prompts=prompts).to_json(), "utf-8")
    for option, prefix in (([], ""), (["--query"], "find: "), (["--passage"], "page: ")):
        (row,) = rows_of(capsys, "a text", *option, "-m", copy)
        expected = fp32.encode(prefix + "a text").dense_vecs
        assert expected is not None
        np.testing.assert_allclose(row["dense_vecs"], expected[0], atol=2e-6)


def test_stdin_is_read_to_its_end(fp32: M3Encoder, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    given = '{"id": "a", "text": "one"}\n{"text": "two"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
    rows = rows_of(capsys, "-i", "-", "--input-format", "jsonl")
    assert [(row["index"], row.get("id")) for row in rows] == [(0, "a"), (1, None)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_has_what_the_encoder_gives_in_input_order(
    suffix: str, texts: Path, fp32: M3Encoder, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "ausgabe 数据" / f"ünï{suffix}"
    encode("-i", texts, "-o", out, *ALL, "--chunk-size", 7)
    assert capsys.readouterr().out == ""
    assert os.listdir(out.parent) == [out.name]
    expected = fp32.encode(texts.read_text("utf-8").splitlines()).dense_vecs
    dense = {
        ".jsonl": lambda: [json.loads(line)["dense_vecs"] for line in out.read_text("utf-8").splitlines()],
        ".npz": lambda: np.load(out)["dense_vecs"],
        ".parquet": lambda: parquet.read_table(out)["dense_vecs"].to_pylist(),
    }[suffix]()
    np.testing.assert_allclose(dense, expected, atol=2e-6)


def test_ids_are_carried_through(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "in.csv").write_text("id,body\nx-1,first\nx-2,second\n")
    rows = rows_of(capsys, "-i", tmp_path / "in.csv", "--field", "body")
    assert [row["id"] for row in rows] == ["x-1", "x-2"]
    encode("-i", tmp_path / "in.csv", "--field", "body", "-o", tmp_path / "out.npz")
    assert np.load(tmp_path / "out.npz")["ids"].tolist() == ["x-1", "x-2"]


def test_a_long_text_ends_a_chunk_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3rt.cli.encode._CHUNK_CHARACTERS", {True: 1, False: 1 << 20})
    made: list[int] = []
    monkeypatch.setattr("m3rt.output.spool.Spool.add", lambda self, number, note, part: made.append(note.texts))
    monkeypatch.setattr("m3rt.output.spool.Spool.finish", lambda self: None)
    encode("a", "b", "c", "-o", tmp_path / "out.npz", "--colbert")
    encode("a", "b", "c", "-o", tmp_path / "out.npz")
    assert made == [1, 1, 1, 3]


def test_what_cannot_be_asked_is_one_line(texts: Path, tmp_path: Path, capsys: Captured) -> None:
    for args, message in [
        ([], "either TEXT arguments or -i FILE"),
        (["a", "-i", texts], "either TEXT arguments or -i FILE"),
        (["a", "--no-dense"], "--no-dense leaves nothing"),
        (["a", "--max-length", 2], "expected 3..128"),
        (["a", "--max-length", "many"], "--max-length"),
        (["a", "--truncate-dim", 33], "expected 1..32"),
        (["a", "--threads", 0], "--threads"),
        (["a", "--device", "abacus"], "expected one of auto, cpu, cuda"),
        (["a", "--engine", "abacus"], "expected one of auto, onnxruntime"),
        (["a", "--chunk-size", 0], "--chunk-size"),
        (["a", "-o", tmp_path / "out.xml"], "expected one of .jsonl, .npz, .parquet"),
        (["a", "-o", "/proc/m3rt/out.npz"], "cannot be written"),
        (["a", "-o", texts / "out.npz"], "cannot be written"),
        (["-i", tmp_path / "nowhere.txt"], "does not exist"),
        (["-i", tmp_path], "is a directory"),
        (["-i", texts, "-i", texts], "Expected one -i, got 2"),
        (["-i", texts, "--input-format", "jsonl"], "line 1: not JSON"),
        (["broken \udcff"], "text 0: lone surrogate"),
    ]:
        assert message in error_of(capsys, *args)
    assert os.listdir(tmp_path) == [texts.name]


def test_a_variable_that_makes_no_sense_names_its_option(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_BATCH_TOKENS", "lots")
    assert "--batch-tokens" in error_of(capsys, "a")


def test_a_dense_bundle_has_no_sparse_view(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    main(["export", str(checkpoint), str(tmp_path / "dense"), "--dense-only"])
    capsys.readouterr()
    assert "without sparse and ColBERT heads" in error_of(capsys, "a", "--sparse", "-m", tmp_path / "dense")


def test_a_bad_line_is_found_before_any_text_is_encoded(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n' * 50 + '{"body": "b"}\n')
    assert "line 51: no 'text'" in error_of(
        capsys, "-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.npz", "--chunk-size", 10
    )
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_where_no_terminal_is_progress_is_a_line_now_and_then(
    texts: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(m3rt.cli.parts.meter, "_SECONDS_BETWEEN_LINES", 0.0)
    encode("-i", texts, "-o", tmp_path / "out.npz", "--chunk-size", 30)
    *progress, summary = capsys.readouterr().err.splitlines()
    done = [int(re.match(r"m3rt: (\d+) of 60 texts, ", line)[1]) for line in progress]  # type: ignore[index]
    assert done == sorted(done)
    assert done[-1] == 60
    assert summary.startswith("m3rt: 60 texts, ")


def test_a_reader_that_leaves_ends_the_command_in_silence(texts: Path) -> None:
    with start("-i", texts, "--chunk-size", 1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"index":0,')
        process.stdout.close()
        assert own_lines(process.stderr.read().decode()) == ""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_killed_again_and_again_it_ends_with_the_same_bytes(suffix: str, texts: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    texts.write_bytes(texts.read_bytes() * 4)
    args = ["-i", texts, "--sparse", "--chunk-size", 1, "-o"]
    encode(*args, whole)
    for stop in (5, 30):
        with start(*args, out) as process:
            wait_for(lambda: finished_parts(out) >= stop)  # noqa: B023
            process.kill()
        assert not out.exists()
    kept = finished_parts(out)
    with start(*args, out) as process:
        _, summary = process.communicate()
    assert process.returncode == 0
    assert f"240 texts ({kept} by an earlier run), ".encode() in summary
    assert out.read_bytes() == whole.read_bytes()
    assert not out.with_name(f"{out.name}.partial").exists()


def test_interrupted_stdin_resumes_with_the_same_stream(texts: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.npz", tmp_path / "out.npz"
    encode("-i", texts, "-o", whole, "--chunk-size", 10)
    given = texts.read_bytes().splitlines(keepends=True)
    with start("-i", "-", "-o", out, "--chunk-size", 10) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"".join(given[:25]))
        process.stdin.flush()
        wait_for(lambda: finished_parts(out) == 2)
        process.send_signal(signal.SIGINT)
        message = own_lines(process.stderr.read().decode())
    assert process.returncode == 130
    assert message == (
        f"m3rt: interrupted; 20 texts done in {out}.partial: the same command with the same input resumes there\n"
    )
    with start("-i", "-", "-o", out, "--chunk-size", 10) as process:
        _, message = (data.decode() for data in process.communicate(b"".join([b"another start\n", *given])))
    assert process.returncode == 2
    assert "the input has changed" in message
    with start("-i", "-", "-o", out, "--chunk-size", 10) as process:
        process.communicate(b"".join(given))
    assert process.returncode == 0
    assert out.read_bytes() == whole.read_bytes()


def test_other_options_do_not_resume_unless_it_restarts(texts: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.jsonl"
    with start("-i", "-", "-o", out, "--chunk-size", 10) as process:
        assert process.stdin is not None
        process.stdin.write(texts.read_bytes())
        process.stdin.flush()
        wait_for(lambda: finished_parts(out) > 0)
        process.kill()
    message = error_of(capsys, "-i", texts, "-o", out, "--chunk-size", 9)
    assert "input was '-' and is" in message
    assert "chunk_size was 10 and is 9" in message
    encode("-i", texts, "-o", out, "--chunk-size", 9, "--restart")
    assert len(out.read_text("utf-8").splitlines()) == 60


SMALL_DISK = """
import resource, sys
from m3rt.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_one_line_and_more_room_resumes(suffix: str, texts: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    encode("-i", texts, "-o", whole, "--chunk-size", 20)
    limit = whole.stat().st_size * 3 // 4  # no single file may be larger: parts fit in, all together do not

    command = [sys.executable, "-c", SMALL_DISK, str(limit), "encode", "-i", texts, "-o", out, "--chunk-size", "20"]
    process = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 2
    assert re.fullmatch(
        rf"m3rt: error: {out} cannot be written: File too large; 60 texts done in {out}\.partial: .* resumes .*\n",
        own_lines(process.stderr),
    )
    assert not out.exists()
    encode("-i", texts, "-o", out, "--chunk-size", 20)
    assert out.read_bytes() == whole.read_bytes()


PEAK = """
import resource, sys
from m3rt.cli import main
status = main(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    def peak(texts: int) -> int:
        out = tmp_path / f"{texts}.npz"
        command = [sys.executable, "-c", PEAK, "encode", "-i", "-", "-o", str(out), "--sparse"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            process.stdin.writelines(b"%d\n" % i for i in range(texts))
            report = process.communicate()[0].split()
        assert report[0] == b"0"
        assert len(np.load(out)["n_tokens"]) == texts
        return int(report[1]) >> 10

    # All at once would take 25 MB for the dense vectors alone, and more for texts, ids and weights.
    assert peak(200_000) - peak(5_000) < 15


def test_a_link_to_nowhere_is_not_written_through(texts: Path, tmp_path: Path, capsys: Captured) -> None:
    link = tmp_path / "out.npz"
    link.symlink_to(tmp_path / "new" / "folder" / "out.npz")
    message = error_of(capsys, "-i", texts, "-o", link)
    assert f"{link} links to {tmp_path / 'new' / 'folder' / 'out.npz'}, which is not there; remove the link" in message
    assert {*os.listdir(tmp_path)} == {texts.name, link.name}
    (tmp_path / "old.npz").touch()
    link.unlink()
    link.symlink_to(tmp_path / "old.npz")
    encode("-i", texts, "-o", link, "--force")
    assert link.is_symlink()
    assert len(np.load(tmp_path / "old.npz")["n_tokens"]) == 60


def test_beir_s_ids_are_carried_through_and_its_title_is_not_read(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "in.json").write_text('[{"_id": "b", "id": 1, "title": "T", "text": "a"}, {"id": 2, "text": "a"}]')
    rows = rows_of(capsys, "-i", tmp_path / "in.json")
    assert [row["id"] for row in rows] == ["b", 2]
    assert rows[0]["dense_vecs"] == rows[1]["dense_vecs"]


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_an_empty_file_is_no_text_and_empty_lines_are_empty_texts(
    data: bytes, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "-").write_bytes(data)  # a file of that name, which ./ tells from stdin
    assert len(rows_of(capsys, "-i", tmp_path / "-")) == data.count(b"\n")


def test_a_file_that_may_not_be_read_is_one_line(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("m3rt.input.TextFile._open", refuse)  # root may read everything
    assert "in.txt cannot be read: Permission denied" in error_of(capsys, "-i", tmp_path / "in.txt")
