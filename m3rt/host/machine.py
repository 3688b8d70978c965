"""The conditions of a measured number: processor, CPUs granted, versions. Reading them is quick."""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import suppress
from typing import Any

from ..version import __version__
from .cpu import arm_cores, flags, processor
from .threads import available_cpus

# Features that decide which kernels run and how weights are packed.
_FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
    "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16", "sme", "sme2",
)  # fmt: skip
_DISTRIBUTION = re.compile(r"(onnxruntime|onnxruntime_gpu|openvino)-([^-]+)\.dist-info")


def conditions() -> dict[str, Any]:
    """Return the conditions that must be equal for a profile to hold here, as JSON values."""
    return {"cpu": _cpu(), "cpus": available_cpus(), "versions": versions()}


def versions() -> dict[str, str]:
    """Return the versions of m3rt and of the installed engines, without importing any.

    importlib.metadata would take 40 ms for it.
    """
    engines: dict[str, str] = {}
    for directory in sys.path:
        with suppress(OSError):
            for match in filter(None, map(_DISTRIBUTION.fullmatch, os.listdir(directory or "."))):
                engines.setdefault(match[1].replace("_", "-"), match[2])
    return {"m3rt": __version__, **dict(sorted(engines.items()))}


def _cpu() -> str:
    model = processor().get("model name") or platform.processor() or platform.machine()
    name = " ".join(part for part in (model, arm_cores()) if part)
    return f"{name} ({' '.join(flag for flag in _FLAGS if flag in flags()) or 'no vector flags'})"
