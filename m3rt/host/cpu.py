"""What this machine's processor is and can do."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_X86 = ("x86_64", "amd64", "i686", "x86")
_VNNI = {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"}
_BF16 = {"avx512_bf16", "amx_bf16"}
_BLOCK = 1 << 16  # of /proc/cpuinfo: its first processor; the kernel takes milliseconds to list them all


@cache
def processor() -> Mapping[str, str]:
    """What Linux says of the first processor, by its names ("model name", "flags", ...); elsewhere nothing."""
    try:
        with Path("/proc/cpuinfo").open(errors="replace") as file:
            block = file.read(_BLOCK).split("\n\n", 1)[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def flags() -> frozenset[str]:
    """The features of the processor, as Linux names them; empty where nothing tells."""
    found = processor()
    return frozenset(found.get("flags", found.get("Features", "")).split())


def has_vnni() -> bool:
    """Whether u8 x s8 products are exact here: always but on x86 CPUs without VNNI, which saturate in 16 bits.

    False where nothing tells, as exact is better than fast.
    """
    return platform.machine().lower() not in _X86 or bool(flags() & _VNNI)


def has_bf16() -> bool:
    """Whether products of bfloat16 are faster here than of float32."""
    return bool(flags() & _BF16)
