"""The number of CPUs granted follows the affinity mask and the container's quota, not the host's core count."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m3rt.host.threads import available_cpus


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def cgroup(directory: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(content)
    return directory


@pytest.mark.parametrize(("content", "cpus"), [
    ("max 100000\n", 8), ("200000 100000\n", 2), ("150000 100000\n", 2), ("5000 100000\n", 1), ("100000", 1),
    ("1600000 100000\n", 8), ("300000 50000\n", 6), ("", 8), ("garbage", 8),
])  # fmt: skip
def test_a_v2_quota_is_rounded_up_and_never_exceeds_affinity(tmp_path: Path, content: str, cpus: int) -> None:
    assert available_cpus(cgroup(tmp_path, {"cpu.max": content})) == cpus


@pytest.mark.parametrize(("quota", "period", "cpus"), [
    ("-1\n", "100000\n", 8), ("300000\n", "100000\n", 3), ("250000\n", "100000\n", 3), ("1000\n", "100000\n", 1),
    ("9900000\n", "100000\n", 8), ("", "100000\n", 8), ("300000\n", "", 8),
])  # fmt: skip
def test_a_v1_quota_counts_the_same_way(tmp_path: Path, quota: str, period: str, cpus: int) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": period}
    assert available_cpus(cgroup(tmp_path, files)) == cpus


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "none") == 8


def test_where_there_is_no_affinity_the_core_count_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cpus(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus(tmp_path) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_a_process_pinned_to_one_cpu_has_one() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from m3rt.host.threads import available_cpus; print(available_cpus())"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "1\n"
