"""The onnxruntime engine: opens, saves and runs sessions on the CPU, and leaves a card to cuda.py."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..bundle.fields import Precision
from ..bundle.heads import Heads
from ..bundle.manifest import Manifest
from ..bundle.sessions import session_of
from ..errors import BundleError, DeviceMissing, EngineError, EngineMissing
from ..host.extras import install
from ..host.telemetry import silenced
from ..host.threads import available_cpus
from . import cards, cuda
from .base import Engine, Outputs, Ports, line
from .versions import check_version

_PROVIDERS = ["CPUExecutionProvider"]
# Padded tokens of a pass: small passes keep activations in the CPU's cache, and int8 weights are cheap to read again
# (benchmarks/LOG.md).
_BATCH_TOKENS: dict[Precision, int] = {"int8": 384, "fp32": 1024, "fp16": 1024, "int4": 384}
_PASS_TOKENS = 20
_LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
SESSION_FILES = ("model.onnx", "prepacked.bin")  # of a saved session
_SHRINK_TOKENS = 8192  # a pass over as many tokens returns its scratch memory to the system


class OnnxRuntimeEngine:
    """Runs one session of a bundle's graph; the weights are mapped from the file, not copied."""

    name, device = "onnxruntime", "cpu"
    pass_tokens, parallel_passes = _PASS_TOKENS, 1

    def __init__(self, session: Any, threads: int, bundle: Bundle) -> None:
        self.threads = threads
        self.batch_tokens = _BATCH_TOKENS[bundle.manifest.precision]
        self._session = session
        self._ports = Ports(bundle)

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> Outputs:
        try:
            feeds = self._ports.feeds(input_ids, attention_mask, heads, token_type_ids)
            arrays = self._session.run(self._ports.outputs, feeds, self._options(input_ids.size))
        except Exception as error:  # onnxruntime's classes share no other base
            raise EngineError(f"onnxruntime failed on a {input_ids.shape} batch: {line(error)}") from None
        return self._ports.result(dict(zip(self._ports.outputs, arrays, strict=True)), input_ids.shape, heads)

    def _options(self, tokens: int) -> Any:
        options = _onnxruntime().RunOptions()
        if tokens >= _SHRINK_TOKENS:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options


def load(bundle: Bundle, *, device: str, threads: int | None, saved_session: Path | None = None) -> Engine:
    """Open a session on the best device.

    saved_session: the folder of a session that saved.save() made here, used on the CPU if it loads. Raises
    EngineMissing without the package, DeviceMissing where it cannot run.
    """
    ort = _onnxruntime()
    if (card := _card(ort, device, bundle)) is not None:
        return cuda.open_session(ort, bundle, card, _session_options(ort, threads))
    if saved_session is not None:
        try:
            return open_session(bundle, threads, saved_session)
        except BundleError as error:
            warnings.warn(f"{error}; loading without it; run: m3rt tune {bundle.path}", stacklevel=3)
    return open_session(bundle, threads)


def open_session(bundle: Bundle, threads: int | None = None, saved_session: Path | None = None) -> OnnxRuntimeEngine:
    """Open a session on the CPU, however slow. Raises BundleError, or EngineMissing for an engine that is too old."""
    ort = _onnxruntime()
    check_version("onnxruntime", ort.__version__, bundle.manifest)
    options = _cpu_options(ort, threads, bundle.manifest)
    graph = bundle.graph("onnxruntime")
    if saved_session is not None:
        graph = saved_session / SESSION_FILES[0]
        options.graph_optimization_level = (
            ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        )  # the saved graph is already optimized
    disabled = list(session_of("onnxruntime", bundle.manifest).disabled_optimizers)
    try:
        session = ort.InferenceSession(str(graph), options, providers=_PROVIDERS, disabled_optimizers=disabled)
    except Exception as error:
        raise BundleError(f"{graph} cannot be loaded: {line(error)}") from None
    return OnnxRuntimeEngine(session, options.intra_op_num_threads, bundle)


def save_session(bundle: Bundle, directory: Path) -> None:
    """Save a CPU session, its graph optimized and its weights packed, in `directory`. Raises BundleError."""
    ort = _onnxruntime()
    model, weights = SESSION_FILES
    options = _cpu_options(ort, 1, bundle.manifest)
    options.optimized_model_filepath = str(directory / model)
    for name, value in (
        ("optimized_model_external_initializers_file_name", weights),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(f"session.{name}", value)
    graph = str(bundle.graph("onnxruntime"))
    try:
        # This session is dropped: the test of a saved session is to load it from its files.
        disabled = list(session_of("onnxruntime", bundle.manifest).disabled_optimizers)
        ort.InferenceSession(graph, options, providers=_PROVIDERS, disabled_optimizers=disabled)
    except Exception as error:
        raise BundleError(f"{graph} cannot be saved: {line(error)}") from None


def evaluate(model: bytes, batches: Sequence[dict[str, NDArray[Any]]], outputs: list[str]) -> list[list[NDArray[Any]]]:
    """Run a serialized ONNX model on the CPU, once for each batch of inputs; for the exporter's calibration."""
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=_PROVIDERS)
    return [session.run(outputs, batch) for batch in batches]


@cache
def _onnxruntime() -> Any:
    try:
        with silenced():
            import onnxruntime
    except ImportError as error:
        raise EngineMissing(_missing(error)) from None
    return onnxruntime


def _session_options(ort: Any, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # shapes differ from call to call
    # Threads spin between the operators of a pass, for speed, and sleep after it, to leave the CPUs to others.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _cpu_options(ort: Any, threads: int | None, manifest: Manifest) -> Any:
    options, session = _session_options(ort, threads), session_of("onnxruntime", manifest)
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[session.optimization])
    for name, value in session.config.items():
        options.add_session_config_entry(name, value)
    options.enable_cpu_mem_arena = manifest.precision != "fp16"
    return options


def card_fault(card: int) -> str | None:
    """Say in one line what keeps onnxruntime from a card, None where nothing does. Raises EngineMissing."""
    return cards.fault(_onnxruntime(), card)


def _card(ort: Any, device: str, bundle: Bundle) -> int | None:
    """The card to run on, None for the CPU. Raises DeviceMissing."""
    precision, suits = bundle.manifest.precision, cards.suits(bundle)
    asked, card = device.startswith("cuda"), cards.card_number(device)
    fault = cards.fault(ort, card) if asked or (device == "auto" and suits) else None
    if asked and fault:
        raise DeviceMissing(f"{device} was asked for, but {fault}")
    if asked and not suits:
        raise DeviceMissing(
            f"{bundle.path} is {precision}, whose kernels are for CPUs; export with --precision fp16 for {device}"
        )
    if asked or (device == "auto" and suits and not fault):
        return card
    if precision == "fp16":
        raise DeviceMissing(
            f"{bundle.path} is fp16, which a CPU runs 6-9 times slower than fp32; export with --precision int8 "
            "or fp32, or use device='cuda'" + (f": {fault}" if fault else "")
        )
    return None


def _missing(error: ImportError) -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        return f'onnxruntime is not installed; run: {install("cpu")} (or "m3rt[gpu]" for CUDA)'
    return f"onnxruntime is installed but does not import: {line(error)}"
