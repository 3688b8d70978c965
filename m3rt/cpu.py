"""What this machine's processor can do."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_VNNI = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8")


@cache
def has_vnni() -> bool:
    """Whether u8 x s8 products are exact here: always but on x86 CPUs without VNNI, which saturate in 16 bits."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i686", "x86"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False  # not Linux: nothing tells, and exact is better than fast
    return any(flag in flags for flag in _VNNI)
