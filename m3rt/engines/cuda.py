"""onnxruntime's CUDA engine: a session on a card, and passes that fit into its memory."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..bundle.fields import ON_CUDA, Precision
from ..bundle.heads import Heads
from ..errors import BundleError, DeviceMissing, EngineError
from ..host.extras import install
from .base import Outputs, Ports, line
from .cards import PROVIDER
from .versions import check_version

# These are guesses until a card is measured. A card needs large passes to be busy, and takes two at a time, so that one
# computes while the other's results are copied. Starting the kernels of a pass may take 2 ms, in which a card computes
# so many tokens in fp32 and fp16; where padding is taken out it costs less than that.
_BATCH_TOKENS, _PARALLEL_PASSES = 16384, 2
_PASS_TOKENS: dict[Precision, int] = {"fp32": 512, "fp16": 2048}
_OUT_OF_MEMORY = re.compile(r"out of memory|failed to allocate memory|ALLOC_FAILED", re.IGNORECASE)


def open_session(ort: Any, bundle: Bundle, card: int, options: Any) -> CudaEngine:
    """Open a session on a card that has no fault(). Raises BundleError, DeviceMissing, or EngineMissing if too old."""
    packed = ON_CUDA in bundle.manifest.graph.files
    check_version(ON_CUDA if packed else "onnxruntime", ort.__version__, bundle.manifest)
    graph = bundle.graph(ON_CUDA if packed else "onnxruntime")
    if packed:  # the graph is fused already
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    provider = {
        "device_id": str(card),
        "arena_extend_strategy": "kSameAsRequested",  # the default doubles what it takes
        "enable_skip_layer_norm_strict_mode": "1",  # sums and norms in float32
        # TF32 keeps ten bits of a product's factors: enough for fp16's heads, too few for fp32.
        "use_tf32": "0" if bundle.manifest.precision == "fp32" else "1",
    }
    try:
        session = ort.InferenceSession(str(graph), options, providers=[(PROVIDER, provider)])
    except Exception as error:
        raise BundleError(f"{graph} cannot be loaded on card {card}: {line(error)}") from None
    # onnxruntime falls back to the CPU without an error when the provider does not start.
    if PROVIDER not in session.get_providers():
        raise DeviceMissing(
            f"card {card} was asked for, but onnxruntime's CUDA provider did not start: its libraries are not those of "
            f"CUDA {getattr(ort, 'cuda_version', '?')}; run: {install('gpu')}"
        )
    return CudaEngine(ort, session, card, options.intra_op_num_threads, bundle)


class _OutOfMemory(EngineError):
    """A pass did not fit into the card's memory."""


class CudaEngine:
    """Runs one session on a card, as many passes at a time as it takes.

    A pass that does not fit into the memory runs again when no other does, and in halves if it does not fit then.
    """

    name = "onnxruntime"
    batch_tokens, parallel_passes = _BATCH_TOKENS, _PARALLEL_PASSES

    def __init__(self, ort: Any, session: Any, card: int, threads: int, bundle: Bundle) -> None:
        self.device, self.threads = f"cuda:{card}" if card else "cuda", threads
        self._ort, self._session, self._card = ort, session, card
        self.pass_tokens = _PASS_TOKENS[bundle.manifest.precision]
        self._ports = Ports(bundle)
        self._slots = threading.Semaphore(_PARALLEL_PASSES)
        self._emptying = threading.Lock()  # one thread at a time waits for all slots
        self._fitting: int | None = None  # padded tokens of a pass, once a larger one did not fit
        self._learning = threading.Lock()

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> Outputs:
        rows = len(input_ids)
        if rows == 1 or self._fitting is None or input_ids.size <= self._fitting:
            arguments = input_ids, attention_mask, heads, token_type_ids
            with suppress(_OutOfMemory), self._slots:
                return self._pass(*arguments)
            with suppress(_OutOfMemory), self._alone():
                return self._pass(*arguments, shrink=True)
            if rows == 1:
                raise EngineError(
                    f"a text of {input_ids.size} tokens does not fit into the memory of {self.device}; encode it with "
                    "a smaller max_length"
                )
            self._learn(input_ids.size // 2)
        half = rows // 2
        types = [None, None] if token_type_ids is None else [token_type_ids[:half], token_type_ids[half:]]
        return _joined(
            self.run(input_ids[:half], attention_mask[:half], heads, types[0]),
            self.run(input_ids[half:], attention_mask[half:], heads, types[1]),
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold every slot, so that no other pass holds memory of the card."""
        with self._emptying:
            for _ in range(_PARALLEL_PASSES):
                self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release(_PARALLEL_PASSES)

    def _learn(self, tokens: int) -> None:
        """Remember what may fit, and tell it once."""
        with self._learning:
            first, self._fitting = self._fitting is None, min(self._fitting or tokens, tokens)
        if first:
            warnings.warn(
                f"a pass of {2 * tokens} tokens does not fit into the memory of {self.device}; passes are smaller from "
                f"now on; batch_tokens={tokens} would spare the attempt",
                stacklevel=4,
            )

    def _pass(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None,
        shrink: bool = False,
    ) -> Outputs:
        """Run one pass; shrink: give its scratch memory back afterwards. Raises _OutOfMemory or EngineError."""
        options = self._ort.RunOptions()
        if shrink:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", f"gpu:{self._card}")
        try:
            feeds = self._ports.feeds(input_ids, attention_mask, heads, token_type_ids)
            arrays = self._session.run(self._ports.outputs, feeds, options)
        except Exception as error:  # onnxruntime's classes share no other base
            kind = _OutOfMemory if _OUT_OF_MEMORY.search(str(error)) else EngineError  # the words may come late in it
            raise kind(f"onnxruntime failed on a {input_ids.shape} batch: {line(error)}") from None
        return self._ports.result(dict(zip(self._ports.outputs, arrays, strict=True)), input_ids.shape, heads)


def _joined(first: Outputs, second: Outputs) -> Outputs:
    parts = ((getattr(first, field.name), getattr(second, field.name)) for field in fields(Outputs))
    return Outputs(*(None if a is None else np.concatenate([a, b]) for a, b in parts))
