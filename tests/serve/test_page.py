"""The page at GET /: one file that asks nobody else, and what it shows in a real browser is what encode() gives."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from m3rt import M3Encoder

pytest.importorskip("fastapi", reason="needs the 'server' extra")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
PASSAGE = "Tokyo Tower is a communications tower, 333 metres high."


def test_the_page_loads_nothing_from_elsewhere_and_may_not(client: Any) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "connect-src 'self'" in answer.headers["content-security-policy"]
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?!data:)\w|@import|url\(|innerHTML", answer.text)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_shows_scores_marks_and_the_alignment(address: str, tiny: M3Encoder, tmp_path: Path) -> None:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=20000", "--dump-dom", f"{address}/?run",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    first = done.stdout.split("<article>")[1]
    shown = {view: float(score) for view, score in re.findall(r"<dt>(\w+)</dt>.*?<dd>([\d.-]+)</dd>", first)}
    question = "How tall is Tokyo Tower?"
    scores = tiny.compute_score([(question, PASSAGE)], weights_for_different_modes=[1, 0.3, 1])
    expected = {view: scores[view][0] for view in ("dense", "sparse", "colbert")}
    expected["fused"] = scores["colbert+sparse+dense"][0]
    assert shown == pytest.approx(expected, abs=2e-2)
    text = re.findall(r'<p class="text"[^>]*>(.*?)</p>', first)[0]
    assert unescape(re.sub("<[^>]+>", "", text)) == PASSAGE
    assert re.findall(r"<mark[^>]*>Tok</mark>", first)
    rows, columns = (len(tiny.tokenize(text)) - 1 for text in (question, PASSAGE))
    assert first.count("aria-label=") == rows * columns + 1  # a cell each, and the map itself
    assert first.count('class="best"') == rows
