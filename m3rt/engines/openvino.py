"""The OpenVINO engine: the CPU's fastest int8."""

from __future__ import annotations

import importlib.util
import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..bundle.heads import Heads
from ..errors import BundleError, DeviceMissing, EngineError, EngineMissing
from ..host.cpu import has_bf16, has_vnni
from ..host.extras import install
from ..host.telemetry import silenced
from ..host.threads import available_cpus
from .base import Outputs, Ports

# Padded tokens of a pass, and the tokens that a pass of its own costs (benchmarks/LOG.md).
_BATCHES = {"int8": (384, 20), "fp32": (1024, 20)}
# A pass over more tokens than this gives its scratch memory back; 40 ms beside the seconds that it took.
_RELEASE_TOKENS = 2048
_KERNELS = 256
SAVED = "session.json"  # in the folder of a compiled model: what it is of


class OpenVinoEngine:
    """One compiled model; each thread that runs at the same time gets an inference request of its own."""

    name = "openvino"
    device = "cpu"

    def __init__(self, compiled: Any, threads: int, bundle: Bundle) -> None:
        self.threads = threads
        self.batch_tokens, self.pass_tokens = _BATCHES[bundle.manifest.precision]
        self._compiled = compiled
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._ports = Ports(bundle.manifest)

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> Outputs:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            out = request.infer(self._ports.feeds(input_ids, attention_mask, heads, token_type_ids))
            arrays = {name: out[name] for name in self._ports.outputs}  # copies: they outlive the request
        except Exception as error:
            raise EngineError(f"openvino failed on a {input_ids.shape} batch: {_line(error)}") from None
        self._idle.put(request)
        if input_ids.size > _RELEASE_TOKENS:
            with suppress(RuntimeError):  # another thread is in the middle of a pass: its memory stays for now
                self._compiled.release_memory()
        return self._ports.result(arrays, input_ids.shape, heads)


def load(bundle: Bundle, *, device: str, threads: int | None, saved_session: Path | None = None) -> OpenVinoEngine:
    """Compile the bundle's graph for the CPU; EngineMissing without the package, DeviceMissing where it cannot run.

    saved_session: the folder of a compiled model that saved.save() made here; used if it is of this graph and as many
    threads.
    """
    if device == "cuda":
        raise DeviceMissing("openvino runs on CPUs only; use engine='onnxruntime' for cuda")
    if bundle.manifest.precision == "int8" and not has_vnni():
        raise DeviceMissing("this CPU has no VNNI, where openvino's int8 saturates; use engine='onnxruntime'")
    return open_session(bundle, "cpu", threads, saved_session)


def open_session(
    bundle: Bundle, device: str, threads: int | None = None, saved_session: Path | None = None
) -> OpenVinoEngine:
    """Compile the bundle's graph, however slow it will be. Raises BundleError, or EngineError in a forked child."""
    ov = _openvino()
    _check_process()
    graph = bundle.graph("openvino")
    threads = threads or available_cpus()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Kernels kept for the shapes that were seen; by default 5,000, which texts of any length fill for hours.
        "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS,
        # Beside int8 products the rounding of bf16 is not seen; fp32 is for those who want all of it.
        "INFERENCE_PRECISION_HINT": "bf16" if bundle.manifest.precision == "int8" and has_bf16() else "f32",
    }
    # Its cache knows a model by its path, and would add one that it does not know.
    if saved_session is not None and _saved_key(saved_session) == saved_key(bundle, threads):
        options["CACHE_DIR"] = str(saved_session)
    try:
        compiled = ov.Core().compile_model(str(graph), "CPU", options)
    except Exception as error:
        raise BundleError(f"{graph} cannot be loaded: {_line(error)}") from None
    return OpenVinoEngine(compiled, threads, bundle)


@cache
def _first_process() -> int:
    """The process that first compiled a model; a forked child has its parent's answer."""
    return os.getpid()


def _check_process() -> None:
    """Refuse what would hang: OpenVINO's threads leave counts in memory that a child without them waits on."""
    if os.getpid() != _first_process():
        raise EngineError(
            "openvino ran in the process that this one was forked from, and would hang here; start workers by "
            "multiprocessing's 'spawn', load the model after the fork, or use engine='onnxruntime'"
        )


def saved_key(bundle: Bundle, threads: int) -> dict[str, str | int]:
    """What OpenVINO's cache tells models apart by, beside the versions and the processor of a tuning profile."""
    graph = bundle.graph("openvino")
    return {"graph": str(graph.resolve()), "written": graph.stat().st_mtime_ns, "threads": threads}


def _saved_key(directory: Path) -> object:
    try:
        return json.loads((directory / SAVED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@cache
def _openvino() -> Any:
    try:
        with silenced():
            import openvino
    except ImportError as error:
        if importlib.util.find_spec("openvino") is None:
            raise EngineMissing(f"openvino is not installed; run: {install('openvino')}") from None
        raise EngineMissing(f"openvino is installed but does not import: {_line(error)}") from None
    return openvino


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
