"""The OpenVINO engine: compiles and runs models on the CPU; the fastest for int8."""

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
from ..bundle.sessions import saturates
from ..errors import BundleError, DeviceMissing, EngineError, EngineMissing
from ..host.cpu import has_bf16
from ..host.extras import install
from ..host.telemetry import silenced
from ..host.threads import available_cpus
from .base import Outputs, Ports, line
from .versions import check_version

_BATCH_AND_PASS_TOKENS = {"int8": (384, 20), "fp32": (1024, 20)}  # benchmarks/LOG.md
# A pass over more tokens than this gives its scratch memory back: 40 ms after a pass of seconds.
_RELEASE_TOKENS = 2048
_CACHED_KERNELS = 256
SESSION_KEY = "session.json"  # in the folder of a saved session: identifies the graph that it was made from


class OpenVinoEngine:
    """Runs one compiled model; threads that run at the same time each get their own inference request."""

    name = "openvino"
    device = "cpu"

    def __init__(self, compiled: Any, threads: int, bundle: Bundle) -> None:
        self.threads = threads
        self.batch_tokens, self.pass_tokens = _BATCH_AND_PASS_TOKENS[bundle.manifest.precision]
        self.parallel_passes = 1
        self._compiled = compiled
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._ports = Ports(bundle)

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
            raise EngineError(f"openvino failed on a {input_ids.shape} batch: {line(error)}") from None
        self._idle.put(request)
        if input_ids.size > _RELEASE_TOKENS:
            with suppress(RuntimeError):  # another thread is inside a pass: the memory stays for now
                self._compiled.release_memory()
        return self._ports.result(arrays, input_ids.shape, heads)


def load(bundle: Bundle, *, device: str, threads: int | None, saved_session: Path | None = None) -> OpenVinoEngine:
    """Compile the bundle's graph for the CPU.

    saved_session: the folder of a session that saved.save() made here, used if it was made for this graph and as many
    threads. Raises EngineMissing without the package, DeviceMissing where it cannot run.
    """
    if device.startswith("cuda"):
        raise DeviceMissing("openvino runs on CPUs only; use engine='onnxruntime' for cuda")
    if saturates(bundle.manifest):
        raise DeviceMissing(
            f"this CPU has no VNNI, where openvino saturates on int8 weights of older exports; export {bundle.path} "
            "again, or use engine='onnxruntime'"
        )
    return open_session(bundle, threads, saved_session)


def open_session(bundle: Bundle, threads: int | None = None, saved_session: Path | None = None) -> OpenVinoEngine:
    """Compile the bundle's graph, however slowly it runs here. Raises BundleError, or EngineError in a forked child."""
    ov = _openvino()
    check_version("openvino", ov.__version__, bundle.manifest)
    _check_process()
    graph = bundle.graph("openvino")
    threads = threads or available_cpus()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # OpenVINO keeps kernels for the shapes it has seen: by default 5,000, which would grow for hours.
        "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_KERNELS,
        # Beside the rounding of int8 products that of bf16 does not show; an fp32 bundle keeps full precision.
        "INFERENCE_PRECISION_HINT": "bf16" if bundle.manifest.precision == "int8" and has_bf16() else "f32",
    }
    # Use the cache only if it was made for this graph: OpenVINO keys it by path and would write a new entry otherwise.
    if saved_session is not None and _kept_key(saved_session) == session_key(bundle, threads):
        options["CACHE_DIR"] = str(saved_session)
    try:
        compiled = ov.Core().compile_model(str(graph), "CPU", options)
    except Exception as error:
        raise BundleError(f"{graph} cannot be loaded: {line(error)}") from None
    return OpenVinoEngine(compiled, threads, bundle)


@cache
def _first_process() -> int:
    """Return the id of the process that first compiled a model; a forked child inherits its parent's answer."""
    return os.getpid()


def _check_process() -> None:
    """Raise EngineError in a forked child, which would wait for ever for OpenVINO threads that only its parent has."""
    if os.getpid() != _first_process():
        raise EngineError(
            "openvino ran in the process that this one was forked from, and would hang here; start workers by "
            "multiprocessing's 'spawn', load the model after the fork, or use engine='onnxruntime'"
        )


def session_key(bundle: Bundle, threads: int) -> dict[str, str | int]:
    """Return the fields that identify a saved session, beside the versions and processor that the profile checks."""
    graph = bundle.graph("openvino")
    return {"graph": str(graph.resolve()), "written": graph.stat().st_mtime_ns, "threads": threads}


def _kept_key(directory: Path) -> object:
    try:
        return json.loads((directory / SESSION_KEY).read_text(encoding="utf-8"))
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
        raise EngineMissing(f"openvino is installed but does not import: {line(error)}") from None
    return openvino
