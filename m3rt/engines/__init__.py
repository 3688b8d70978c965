"""Runs a bundle's graph: token ids in, arrays out. Only this room imports an engine's package.

A new engine needs a name in fields.EngineName, a module of this name here with load() and open_session(), whose class
fits base.Engine, its extra in _EXTRAS below, a module in saved/, and its operators in m3rt_export's graph/build.py.
"""

from __future__ import annotations

import re
import warnings
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from ..bundle import Bundle
from ..bundle.fields import EngineName
from ..bundle.heads import Heads
from ..errors import EngineMissing, InputError
from ..host.extras import install
from ..host.threads import available_cpus
from ..values.arguments import choice_of, whole_number
from ..values.shown import shown
from .base import Engine, Outputs
from .reopening import Reopening

__all__ = ["Engine", "Heads", "Outputs", "checked", "load_engine", "reference_engine", "usable"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")


def load_engine(
    bundle: Bundle,
    *,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    batch_tokens: int | None = None,
    saved_session: Path | None = None,
) -> Engine:
    """Load the engine that runs `bundle`; arguments left at their defaults are chosen here.

    batch_tokens: replaces the engine's choice. saved_session: a folder that saved.save() made for this bundle.
    Raises InputError for an unknown name, BundleError when the bundle has no graph for that engine, and EngineMissing
    or DeviceMissing when this machine lacks the engine or the device.
    """
    engine, device, threads = checked(engine, device, threads)
    name = next((e for e in ENGINES if e == engine), None) or _preferred(bundle)
    bundle.graph(name)  # raises before an engine is imported
    load = partial(_module(name).load, bundle, device=device, threads=threads, saved_session=saved_session)
    return Reopening(load, batch_tokens)


def checked(engine: str, device: str, threads: int | None) -> tuple[str, str, int | None]:
    """Check the arguments of an engine, and limit its threads to the CPUs granted. Raises InputError."""
    engine = choice_of("engine", engine, ("auto", *ENGINES))
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise InputError(f"device is {shown(device)}, expected one of auto, cpu, cuda, or cuda:1 for the second card")
    return engine, device, None if threads is None else _granted(whole_number("threads", threads, 1, 1024))


def _granted(threads: int) -> int:
    """Limit `threads` to the CPUs granted: more threads would wait for each other."""
    cpus = available_cpus()
    if threads > cpus:
        warnings.warn(f"threads is {threads}, but {cpus} CPUs are granted here; using {cpus}", stacklevel=4)
    return min(threads, cpus)


def reference_engine(bundle: Bundle) -> Engine:
    """Open an engine on the CPU even where that is slow (fp16): for golden vectors and tests, not for service."""
    engine: Engine = _module(_preferred(bundle)).open_session(bundle)
    return engine


def usable(bundle: Bundle) -> list[EngineName]:
    """Return the installed engines that the bundle has a graph for.

    onnxruntime comes first: it starts in a third of the time and the memory. `m3rt tune` measures which is faster.
    """
    return [name for name in ENGINES if name in bundle.manifest.engines and find_spec(name)]


def _preferred(bundle: Bundle) -> EngineName:
    names = usable(bundle)
    if not names:
        commands = " or ".join(install(_EXTRAS[name]) for name in bundle.manifest.engines)
        raise EngineMissing(f"{' or '.join(bundle.manifest.engines)} is not installed; run: {commands}")
    return names[0]


_EXTRAS: dict[EngineName, str] = {"onnxruntime": "cpu", "openvino": "openvino"}


def _module(name: EngineName) -> Any:
    return import_module(f".{name}", __name__)
