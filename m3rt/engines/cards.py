"""NVIDIA's cards: which bundles they can run, and what keeps onnxruntime from one, in a line."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from typing import Any

from ..bundle import Bundle
from ..host.extras import install
from ..host.nvidia import Driver, driver

PROVIDER = "CUDAExecutionProvider"


def suits(bundle: Bundle) -> bool:
    """Whether a card can run the bundle: the kernels of its other precisions are for CPUs."""
    return bundle.manifest.precision in ("fp32", "fp16")


def card_number(device: str) -> int:
    """The number of the card in "cuda:1"; "cuda" alone is the first."""
    return int(device.partition(":")[2] or 0)


def fault(ort: Any, card: int, found: Driver | None = None) -> str | None:
    """Say in one line what keeps onnxruntime from `card`, None where nothing does. found: by default driver()."""
    if PROVIDER not in ort.get_available_providers():
        return "this onnxruntime has no CUDA; run: pip uninstall onnxruntime && " + install("gpu")
    found = found or driver()
    if found.fault:
        return found.fault
    built_for = int(getattr(ort, "cuda_version", "").partition(".")[0] or 0)
    if found.cuda[0] < built_for:
        return (
            f"the driver runs CUDA {found.cuda[0]}.{found.cuda[1]}, and this onnxruntime needs CUDA {built_for}; "
            f"update the driver, or install an onnxruntime-gpu for CUDA {found.cuda[0]}"
        )
    if card >= len(found.cards):
        return f"the cards here are 0..{len(found.cards) - 1}"
    if library := _missing_library(ort):
        return f"the library {library} is missing; run: {install('gpu')}"
    return None


def _missing_library(ort: Any) -> str | None:
    """Load the CUDA libraries that came as packages; the name of the first one that is nowhere."""
    said = io.StringIO()
    with redirect_stdout(said):  # it prints what it cannot load
        ort.preload_dlls(msvc=False)
    missing = re.search(r"^Failed to load (\S+):", said.getvalue(), re.MULTILINE)
    return missing and missing[1]
