"""The processor of this machine and its features."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_X86 = ("x86_64", "amd64", "i686", "x86")
_VNNI = {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"}
_BF16 = {"avx512_bf16", "amx_bf16"}
_ARM = ("CPU implementer", "CPU part", "CPU variant", "CPU revision")
_FIRST_BYTES = 1 << 16  # of x86's /proc/cpuinfo: they hold its first processor, and listing all takes milliseconds


def processor() -> Mapping[str, str]:
    """Return Linux's description of the first processor by name ("model name", "flags", ...); {} on other systems."""
    return next(iter(_processors()), {})


def arm_cores() -> str:
    """Return the numbers that 64-bit ARM Linux gives instead of a model's name; "" on other machines.

    Where this process may run on cores of several kinds (big.LITTLE) each kind is there with its number of cores.
    """
    allowed = set(map(str, os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else set()
    cores = [fields for fields in _processors() if "CPU part" in fields]
    cores = [fields for fields in cores if fields.get("processor") in allowed] or cores
    kinds = Counter(
        " ".join(f"{key.removeprefix('CPU ')} {fields[key]}" for key in _ARM if key in fields) for fields in cores
    )
    if len(kinds) < 2:
        return "".join(kinds)
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))


@cache
def _processors() -> tuple[Mapping[str, str], ...]:
    """Return Linux's descriptions of all processors, or of x86's first one; () on other systems."""
    x86 = platform.machine().lower() in _X86
    try:
        with Path("/proc/cpuinfo").open(errors="replace") as file:
            blocks = file.read(_FIRST_BYTES if x86 else -1).split("\n\n")
    except OSError:
        return ()
    described = []
    for block in blocks[:1] if x86 else blocks:
        lines = (line.partition(":") for line in block.splitlines())
        described.append({key.strip(): value.strip() for key, _, value in lines})
    return tuple(described)


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
