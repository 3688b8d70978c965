"""Every block of docs/ runs, page by page and in order, and the pages build without a warning.

A block below `<!-- needs PACKAGE -->` runs where that package is, in a folder of its own, after the blocks above that
need none; its warnings, which are the package's, do no harm.
"""

import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from m3rt_export import export

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"(?:^<!-- needs (\w+) -->\n\n?)?^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUIET = {"CREWAI_DISABLE_TELEMETRY": "true", "HAYSTACK_TELEMETRY_ENABLED": "False", "OTEL_SDK_DISABLED": "true"}
PAGES = sorted(page.name for page in DOCS.glob("*.md") if BLOCK.search(page.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def reranker_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reranker")
    write_checkpoint(folder / "checkpoint", kind="reranker")
    return export(folder / "checkpoint", folder / "bundle", precision="fp32").path


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_one_after_another(page: str, checkpoint: Path, reranker_bundle: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CHECKPOINT": str(checkpoint), "M3RT_CACHE": str(tmp_path / "cache")}
    environment |= {"M3RT_RERANKER": str(reranker_bundle), **QUIET}
    python = ""  # a page's pieces of Python go on where the last one ended
    for needed, kind, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if needed and find_spec(needed) is None:
            continue
        if kind == "sh":
            command = ["bash", "-euo", "pipefail", "-c", text]
        else:
            command = [sys.executable, "-W", "ignore" if needed else "error", "-c", python + text]
            python += "" if needed else text
        # Blocks of Python that ran before run once more with it, and what they make must not be there.
        folder = Path(tempfile.mkdtemp(dir=tmp_path)) if needed else tmp_path
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
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
