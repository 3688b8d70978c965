"""Engines by name; only the one that runs is imported."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..bundle import Bundle
from ..errors import BundleError, InputError, whole_number
from .base import Engine, Heads, Outputs

__all__ = ["Engine", "Heads", "Outputs", "load_engine", "reference_engine"]

_ENGINES = {"onnxruntime": ".onnxruntime"}
DEVICES = ("auto", "cpu", "cuda")


def load_engine(bundle: Bundle, *, engine: str = "auto", device: str = "auto", threads: int | None = None) -> Engine:
    """The engine that runs `bundle`.

    Raises InputError for an unknown name, BundleError when the bundle was made for another engine,
    EngineMissing and DeviceMissing when this machine lacks what was asked for.
    """
    if engine not in ("auto", *_ENGINES):
        raise InputError(f"engine is {engine!r}, expected one of auto, {', '.join(_ENGINES)}")
    if device not in DEVICES:
        raise InputError(f"device is {device!r}, expected one of {', '.join(DEVICES)}")
    if threads is not None:
        threads = whole_number("threads", threads, 1, 1024)
    made_for = bundle.manifest.engine
    if engine not in ("auto", made_for):
        raise BundleError(
            f"{bundle.path} was exported for {made_for}, not {engine}; export again with --engine {engine}"
        )
    loaded: Engine = _module(bundle).load(bundle, device=device, threads=threads)
    return loaded


def reference_engine(bundle: Bundle) -> Engine:
    """The engine on the CPU even where that is slow (fp16): for golden vectors and tests, not for service."""
    loaded: Engine = _module(bundle).open_session(bundle, "cpu")
    return loaded


def _module(bundle: Bundle) -> Any:
    return import_module(_ENGINES[bundle.manifest.engine], __name__)
