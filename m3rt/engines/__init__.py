"""Engines by name; only the one that runs is imported."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from ..bundle import Bundle
from ..bundle.heads import Heads
from ..bundle.manifest import EngineName
from ..errors import EngineMissing
from ..host.extras import install
from ..host.threads import available_cpus
from ..values.arguments import choice_of, whole_number
from .base import Engine, Outputs
from .reopening import Reopening

__all__ = ["Engine", "Heads", "Outputs", "checked", "load_engine", "reference_engine", "usable"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEVICES = ("auto", "cpu", "cuda")


def load_engine(
    bundle: Bundle,
    *,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    batch_tokens: int | None = None,
    saved_session: Path | None = None,
) -> Engine:
    """The engine that runs `bundle`; it chooses what is left open.

    batch_tokens: in the place of the engine's own. saved_session: a folder that saved.save() made for this bundle.
    Raises InputError for an unknown name, BundleError when the bundle has no graph for that engine,
    EngineMissing and DeviceMissing when this machine lacks what was asked for.
    """
    engine, device, threads = checked(engine, device, threads)
    name = next((e for e in ENGINES if e == engine), None) or _preferred(bundle)
    bundle.graph(name)  # says so when there is none, before an engine is imported
    load = partial(_module(name).load, bundle, device=device, threads=threads, saved_session=saved_session)
    return Reopening(load, batch_tokens)


def checked(engine: str, device: str, threads: int | None) -> tuple[str, str, int | None]:
    """What was asked of an engine, with no more threads than there are CPUs. Raises InputError."""
    engine = choice_of("engine", engine, ("auto", *ENGINES))
    device = choice_of("device", device, DEVICES)
    return engine, device, None if threads is None else _granted(whole_number("threads", threads, 1, 1024))


def _granted(threads: int) -> int:
    """As many threads as were asked for, or as many CPUs as there are: more would wait for each other."""
    granted = available_cpus()
    if threads > granted:
        warnings.warn(f"threads is {threads}, but {granted} CPUs are granted here; using {granted}", stacklevel=4)
    return min(threads, granted)


def reference_engine(bundle: Bundle) -> Engine:
    """An engine on the CPU even where that is slow (fp16): for golden vectors and tests, not for service."""
    loaded: Engine = _module(_preferred(bundle)).open_session(bundle, "cpu")
    return loaded


def usable(bundle: Bundle) -> list[EngineName]:
    """The engines that are installed and in the bundle.

    onnxruntime comes first: it starts in a third of the time and the memory. `m3rt tune` finds out which is faster.
    """
    return [name for name in ENGINES if name in bundle.manifest.engines and find_spec(name)]


def _preferred(bundle: Bundle) -> EngineName:
    names = usable(bundle)
    if not names:
        wanted = " or ".join(install(_EXTRAS[name]) for name in bundle.manifest.engines)
        raise EngineMissing(f"{' or '.join(bundle.manifest.engines)} is not installed; run: {wanted}")
    return names[0]


_EXTRAS: dict[EngineName, str] = {"onnxruntime": "cpu", "openvino": "openvino"}


def _module(name: EngineName) -> Any:
    return import_module(f".{name}", __name__)
