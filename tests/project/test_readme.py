"""The README's commands and code run as written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "sh"]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SETUP = ("python3 -m venv", "pip install")


def run(script: str, directory: Path, **environment: str) -> str:
    # The interpreter's own folder first: `m3rt` is the one that is tested.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, **environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_first_block_exports_and_encodes(checkpoint: Path, tmp_path: Path) -> None:
    lines = SHELL[0].splitlines()
    assert [line.startswith(SETUP) for line in lines] == [True, True, False, False, False]
    stdout = run("\n".join(lines[2:]), tmp_path, CHECKPOINT=str(checkpoint))
    assert '"dense_vecs"' in stdout
    assert '"lexical_weights"' in stdout
    assert (tmp_path / "bge-m3-int8" / "m3rt.json").is_file()


def test_second_block_is_what_ci_runs() -> None:
    (line,) = SHELL[1].splitlines()
    assert f"exec {line}\n" in (Path(__file__).parents[2] / ".ci" / "run").read_text(encoding="utf-8")
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in line.split()[1:])


@pytest.mark.parametrize("block", range(2, len(SHELL)))
def test_other_shell_blocks_run(block: int, bundle_int8: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_int8, tmp_path / "bge-m3-int8")
    assert run(SHELL[block], tmp_path)


@pytest.mark.parametrize("block", range(len(PYTHON)))
def test_python_blocks_run(block: int, bundle_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(bundle_int8, tmp_path / "bge-m3-int8")
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[block], "README.md", "exec"), {})


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"[A-Z]+_TABLE", README)
