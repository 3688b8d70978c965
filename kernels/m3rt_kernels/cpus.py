"""The number of CPUs that this process may use, from its affinity and its cgroup's quota, not the host's core count."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """Return the CPUs that the scheduler grants: the affinity mask, cut by a cgroup v2 or v1 quota, at least 1."""
    return max(1, math.ceil(min(affinity(), quota(cgroup))))


def affinity() -> int:
    """Count the CPUs in this process's mask, or in the machine where there are no masks."""
    mask = getattr(os, "sched_getaffinity", None)
    return len(mask(0)) if mask else os.cpu_count() or 1


def quota(cgroup: Path = _CGROUP) -> float:
    """Return for how many CPUs a cgroup v2 or v1 grants time, a fraction perhaps; infinity without a limit."""
    return _quota_v2(cgroup) or _quota_v1(cgroup) or math.inf


def _quota_v2(cgroup: Path) -> float | None:
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    return None if not quota.isdigit() else int(quota) / int(period or 100_000)


def _quota_v1(cgroup: Path) -> float | None:
    quota, period = _read(cgroup / "cpu/cpu.cfs_quota_us"), _read(cgroup / "cpu/cpu.cfs_period_us")
    return None if not quota.isdigit() or not period.isdigit() else int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
