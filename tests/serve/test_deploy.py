"""What deploy/ sets is what m3rt serve reads."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m3rt.cli.serve import command

DEPLOY = Path(__file__).parents[2] / "deploy"
ELSEWHERE = {"M3RT_CACHE", "M3RT_API_KEY"}  # read by the cache, and by the command itself


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "m3rt.service"])
def test_every_variable_is_an_option(name: str) -> None:
    known = ELSEWHERE | {str(option.envvar) for option in command.params}
    named = set(re.findall(r"\bM3RT_[A-Z_]+", (DEPLOY / name).read_text(encoding="utf-8")))
    assert named
    assert named <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = (DEPLOY / "m3rt.service").read_text(encoding="utf-8")
    (tmp_path / "m3rt.service").write_text(text.replace("/opt/m3rt/bin/m3rt", sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "m3rt.service")], capture_output=True, text=True
    )
    assert "m3rt.service" not in done.stderr
