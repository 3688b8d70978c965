"""How many CPUs this process may use: affinity and cgroup quota, never the host's core count."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs that the scheduler grants: the affinity mask, cut by a cgroup v2 or v1 quota, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota_v2(cgroup) or _quota_v1(cgroup)
    return max(1, min(count, math.ceil(quota))) if quota else count


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
