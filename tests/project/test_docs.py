"""Every block of docs/ runs, page by page and in order, and the pages build without a warning."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(page.name for page in DOCS.glob("*.md") if BLOCK.search(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_one_after_another(page: str, checkpoint: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CHECKPOINT": str(checkpoint), "M3RT_CACHE": str(tmp_path / "cache")}
    python = ""  # a page's pieces of Python go on where the last one ended
    for kind, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        python += text if kind == "python" else ""
        command = (
            ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-W", "error", "-c", python]
        )
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="needs the 'docs' extra")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(ROOT / "mkdocs.yml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
