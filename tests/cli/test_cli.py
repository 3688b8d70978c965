"""The command line: help, errors, export, info, verify; data on stdout, people on stderr."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import sysconfig
import termios
from pathlib import Path

import numpy as np
import pytest
from commands import Captured, error_of
from own_lines import own_lines

from m3rt import M3Encoder
from m3rt.bundle import open_bundle
from m3rt.bundle.manifest import Manifest
from m3rt.cli import main

M3RT = str(Path(sysconfig.get_path("scripts")) / "m3rt")
COMMANDS = ("export", "encode", "info", "load", "eval", "bench", "tune", "verify")
CONTAINER = {
    "M3RT_DEVICE": "--device",
    "M3RT_ENGINE": "--engine",
    "M3RT_THREADS": "--threads",
    "M3RT_BATCH_TOKENS": "--batch-tokens",
}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_THREADS", "1")


def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([M3RT, *map(str, args)], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def damaged(bundle: Path, directory: Path, file: str) -> Path:
    """A copy of the bundle with one byte of a file changed."""
    copy = shutil.copytree(bundle, directory / "damaged")
    data = bytearray((copy / file).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / file).write_bytes(data)
    return copy


@pytest.mark.parametrize("args", [["--help"], ["-h"], []])
def test_help_names_every_command(args: list[str], capsys: Captured) -> None:
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert all(f"\n  {command} " in out for command in COMMANDS)
    assert err == ""


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("export", ["SOURCE", "OUT", "--precision", "int8", "--engine", "--revision", "--dense-only", "--verify"]),
        (
            "encode",
            [
                *("TEXT", "--model", "--input", "--input-format", "--field", "--output", "--force", "--restart"),
                *("--no-dense", "--sparse", "--colbert", "--max-length", "--truncate-dim", "--query", "--passage"),
                *("--chunk-size", "M3RT_MODEL", *CONTAINER, *CONTAINER.values(), "resumes", ".parquet"),
            ],
        ),
        ("info", ["MODEL", "--json", "M3RT_MODEL"]),
        ("bench", ["MODEL", "--quick", "M3RT_MODEL", *CONTAINER, *CONTAINER.values(), "JSON"]),
        ("tune", ["MODEL", "--seconds", "--no-save-session", "M3RT_MODEL", "M3RT_CACHE", "M3RT_TUNE"]),
        (
            "verify",
            ["MODEL", "--against", "--data", "--limit", "--json", "M3RT_MODEL", *CONTAINER, *CONTAINER.values()],
        ),
        (
            "eval",
            [
                *("MODEL", "DATASET...", "--split", "--against", "--bm25", "--cross-lingual", "--language-pairs"),
                *("--max-queries", "--tune-weights", "--chart", "--json", *CONTAINER, *CONTAINER.values()),
            ],
        ),
    ],
)
def test_help_of_a_command_tells_its_options_and_variables(command: str, names: list[str], capsys: Captured) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in names if name not in out] == []


@pytest.mark.parametrize("args", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_imports_no_array_library_and_no_engine(args: list[str]) -> None:
    script = (
        "import sys; from m3rt.cli import main; main(sys.argv[1:]); "
        "print({'numpy', 'onnx', 'onnxruntime', 'openvino', 'tokenizers', 'tqdm', 'pyarrow'} & {*sys.modules}, "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


def test_the_version_is_the_package_s(capsys: Captured) -> None:
    from m3rt import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"m3rt, version {__version__}\n"


def test_a_wrong_command_line_is_one_line_that_leads_to_help(capsys: Captured) -> None:
    for args in (["emcode"], ["--colour"], ["encode", "--spars", "a"], ["export", "only-a-source"]):
        assert "--help" in error_of(capsys, *args)
    assert "fp64" in error_of(capsys, "export", "a", "b", "--precision", "fp64")


@pytest.mark.parametrize("command", [["info"], ["verify"], ["bench"], ["tune"], ["encode", "a", "-m"]])
def test_a_bundle_that_is_none_is_one_line(
    command: list[str], bundle_fp32: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert "does not exist" in error_of(capsys, *command, tmp_path / "nowhere")
    assert "has no m3rt.json" in error_of(capsys, *command, tmp_path)
    copy = shutil.copytree(bundle_fp32, tmp_path / "copy")
    with (copy / "weights.bin").open("ab") as file:
        file.write(b"more")
    assert "bytes, expected" in error_of(capsys, *command, copy)
    (copy / "m3rt.json").write_text("{")
    assert "not a m3rt manifest" in error_of(capsys, *command, copy)


def test_info_as_json_is_the_manifest_with_path_and_size(bundle_int8: Path, capsys: Captured) -> None:
    assert main(["info", str(bundle_int8), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("path") == str(bundle_int8)
    files = [f for f in bundle_int8.rglob("*") if f.is_file() and f.name != "m3rt.json"]
    assert found.pop("size") == sum(f.stat().st_size for f in files)
    assert Manifest.from_json(json.dumps(found)) == open_bundle(bundle_int8).manifest


def test_info_for_people_has_what_they_choose_by(
    bundle_int8: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M3RT_MODEL", str(bundle_int8))
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for fact in ("tiny-m3", "m3\n", "int8 for onnxruntime", "2 layers of 32", "128", "cls pooling", "no prompt"):
        assert fact in out
    assert "input_ids int64 (batch" in out


def test_verify_passes_a_sound_bundle_with_each_difference(bundle_int8: Path, capsys: Captured) -> None:
    assert main(["verify", str(bundle_int8)]) == 0
    out, err = capsys.readouterr()
    assert "hashes match" in out
    assert "tolerance 0.03" in out
    assert all(name in out for name in ("input_ids", "dense_vecs", "lexical_weights", "colbert_vecs"))
    assert err == ""
    assert main(["verify", str(bundle_int8), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"]
    assert max(result["differences"].values()) <= result["tolerance"]


@pytest.mark.parametrize("file", ["weights.bin", "model.onnx", "tokenizer.json", "golden.json"])
def test_verify_names_a_file_with_one_wrong_bit(file: str, bundle_fp32: Path, tmp_path: Path, capsys: Captured) -> None:
    message = error_of(capsys, "verify", damaged(bundle_fp32, tmp_path, file))
    assert f"{file} has SHA-256" in message


def test_verify_tells_other_results_from_damage(bundle_fp32: Path, tmp_path: Path, capsys: Captured) -> None:
    from m3rt.host.files import record

    copy = shutil.copytree(bundle_fp32, tmp_path / "other")
    golden = json.loads((copy / "golden.json").read_text("utf-8"))
    golden[3]["dense_vecs"][5] += 0.5
    golden[4]["colbert_vecs"].pop()
    (copy / "golden.json").write_text(json.dumps(golden), "utf-8")
    manifest = json.loads((copy / "m3rt.json").read_text("utf-8"))
    found = record(copy / "golden.json")
    manifest["files"]["golden.json"] = {"size": found.size, "sha256": found.sha256}
    (copy / "m3rt.json").write_text(json.dumps(manifest), "utf-8")
    assert main(["verify", str(copy), "--json"]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert not result["passed"]
    length = np.linalg.norm(golden[3]["dense_vecs"])
    assert result["differences"]["dense_vecs"] == pytest.approx(0.5 / length, abs=1e-3)
    assert result["differences"]["colbert_vecs"] is None  # of another shape
    assert re.fullmatch(r"m3rt: error: dense_vecs, colbert_vecs differ[^\n]+\n", err)


def test_export_makes_an_int8_bundle_and_prints_its_path(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "数据" / "bundle"
    assert main(["export", str(checkpoint), str(out)]) == 0
    printed, summary = capsys.readouterr()
    assert printed == f"{out}\n"
    assert open_bundle(out).manifest.precision == "int8"
    assert re.fullmatch(r"m3rt: [\d.]+ kB of weights became a bundle of [\d.]+ kB, \d+%, in [\d.]+ s\n", summary)
    assert M3Encoder(out, threads=1).encode("a").dense_vecs is not None


def test_export_passes_its_options_on(checkpoint: Path, tmp_path: Path) -> None:
    assert main(["export", str(checkpoint), str(tmp_path / "b"), "--precision", "fp32", "--dense-only"]) == 0
    manifest = open_bundle(tmp_path / "b").manifest
    assert (manifest.precision, manifest.kind) == ("fp32", "dense")


def test_an_export_that_cannot_be_is_one_line(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "neither a directory nor a Hub id" in error_of(capsys, "export", tmp_path / "nowhere", tmp_path / "b")
    assert "not empty" in error_of(capsys, "export", checkpoint, tmp_path / "full")
    assert "engine" in error_of(capsys, "export", checkpoint, tmp_path / "b", "--engine", "abacus")
    assert "revision" in error_of(capsys, "export", checkpoint, tmp_path / "b", "--revision", "main")
    assert "cannot be written" in error_of(capsys, "export", checkpoint, "/proc/m3rt/b")
    assert os.listdir(tmp_path) == ["full"]


def test_a_missing_package_comes_with_its_pip_command(
    checkpoint: Path, bundle_fp32: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("m3rt_export", "onnx", "pyarrow")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "m3rt.output.parquet", raising=False)
    for name in ("onnx", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    assert 'pip install "m3rt[export]"' in error_of(capsys, "export", checkpoint, tmp_path / "b")
    assert 'pip install "m3rt[parquet]"' in error_of(
        capsys, "encode", "a", "-m", bundle_fp32, "-o", tmp_path / "x.parquet"
    )
    (tmp_path / "in.parquet").touch()
    assert 'pip install "m3rt[parquet]"' in error_of(capsys, "encode", "-i", tmp_path / "in.parquet", "-m", bundle_fp32)


def test_a_warning_is_one_line(bundle_fp32: Path) -> None:
    done = run("encode", "a", "-m", bundle_fp32, "--truncate-dim", 8)
    assert done.returncode == 0
    lines = own_lines(done.stderr).splitlines()
    assert lines[0] == "m3rt: warning: tiny-m3 was not trained for truncate_dim=8: expect lower quality"
    assert len(lines) == 2  # and the summary


def test_a_defect_keeps_its_traceback(bundle_fp32: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3rt.encoder.plan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["encode", "a", "-m", str(bundle_fp32)])


def test_full_stdout_is_one_line(bundle_fp32: Path) -> None:
    for args in (["info", bundle_fp32], ["encode", "a", "-m", bundle_fp32]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([M3RT, *map(str, args)], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert own_lines(done.stderr) == "m3rt: error: stdout cannot be written: No space left on device\n"


@pytest.mark.parametrize("args", [["info"], ["verify"], ["encode", "a", "-m"], ["--help"], ["--version"]])
def test_results_for_a_closed_stdout_are_one_line(args: list[str], bundle_fp32: Path) -> None:
    command = [M3RT, *args, *[str(bundle_fp32)] * (not args[0].startswith("--"))]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert own_lines(done.stderr) == "m3rt: error: stdout cannot be written: Bad file descriptor\n"


def test_a_closed_stdout_does_not_matter_where_results_go_to_a_file(bundle_fp32: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    command = [M3RT, "encode", "a", "-m", str(bundle_fp32), "-o", str(out)]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", *command])
    assert done.returncode == 0
    assert len(out.read_text().splitlines()) == 1


def test_a_terminal_sees_bars(bundle_fp32: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen([M3RT, "verify", bundle_fp32], stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how Linux says that the other side has closed
            pass
    os.close(ours)
    assert process.returncode == 0
    assert b"hashes: 100%" in shown


# An interrupt at the import of a module, or at the process's end, which is the surest way to hit a moment.
INTERRUPT = """
import atexit, os, signal, sys
moment = sys.argv.pop(1)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
if moment == "the end":
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
from m3rt.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("moment", "message"), [("click", ""), ("m3rt.cli.info", "m3rt: interrupted\n"), ("the end", "")]
)
def test_an_interrupt_is_quiet_from_start_to_end(moment: str, message: str, bundle_fp32: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT, moment, "info", bundle_fp32], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, message)


def test_an_ignored_interrupt_stays_ignored(bundle_fp32: Path) -> None:
    script = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{INTERRUPT}"
    for moment in ("click", "m3rt.cli.info", "the end"):
        done = subprocess.run(
            [sys.executable, "-c", script, moment, "info", bundle_fp32], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
