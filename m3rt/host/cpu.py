"""The processor of this machine and its features."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_X86 = ("x86_64", "amd64", "i686", "x86")
_VNNI = {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"}
_BF16 = {"avx512_bf16", "amx_bf16"}
_FIRST_BYTES = 1 << 16  # of /proc/cpuinfo: they hold its first processor, and listing all takes milliseconds


@cache
def processor() -> Mapping[str, str]:
    """Return Linux's description of the first processor by name ("model name", "flags", ...); {} on other systems."""
    try:
        with Path("/proc/cpuinfo").open(errors="replace") as file:
            block = file.read(_FIRST_BYTES).split("\n\n", 1)[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def flags() -> frozenset[str]:
    """Return the features of the processor by Linux's names; empty where they are unknown."""
    fields = processor()
    return frozenset(fields.get("flags", fields.get("Features", "")).split())


def has_vnni() -> bool:
    """Whether u8 x s8 products are exact here: x86 CPUs without VNNI saturate in 16 bits, all other CPUs are exact.

    False where the features of an x86 CPU are unknown: slow and exact is better than fast and wrong.
    """
    return platform.machine().lower() not in _X86 or bool(flags() & _VNNI)


def has_bf16() -> bool:
    """Whether products of bfloat16 are faster here than products of float32."""
    return bool(flags() & _BF16)
