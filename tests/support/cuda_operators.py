"""The operators that only onnxruntime's CUDA provider has, in numpy, from their definitions in ContribOperators.md."""

import itertools
from math import erf
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from m3rt.bundle import Bundle
from m3rt.bundle.heads import Heads
from m3rt.engines.base import Outputs, Ports

Array = NDArray[Any]


class RemovePadding(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Array, lengths: Array) -> tuple[Array, ...]:
        b, s, _ = x.shape
        real = np.arange(s) < lengths[:, None]
        places = np.concatenate([np.flatnonzero(real), np.flatnonzero(~real)]).reshape(b, s).astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return x[real], places, starts, np.array([lengths.max()], np.int32)


class RestorePadding(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Array, places: Array) -> tuple[Array]:
        out = np.zeros((places.size, x.shape[1]), x.dtype)
        out[places.reshape(-1)[: len(x)]] = x
        return (out.reshape(*places.shape, -1),)


class PackedMultiHeadAttention(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self,
        query: Array,
        key: Array,
        value: Array,
        bias: Array | None,
        places: Array,
        starts: Array,
        num_heads: int | None = None,
        scale: float | None = None,
    ) -> tuple[Array]:
        assert bias is None
        assert num_heads
        assert key.shape == query.shape
        assert places.dtype == starts.dtype == np.int32
        out = np.empty_like(value)
        for start, end in itertools.pairwise(starts):
            q, k, v = (x[start:end].astype(np.float32).reshape(end - start, num_heads, -1) for x in (query, key, value))
            scores = np.einsum("qhd,khd->hqk", q, k) * (scale or q.shape[-1] ** -0.5)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[start:end] = np.einsum("hqk,khd->qhd", weights, v).reshape(end - start, -1)
        return (out,)


class SkipLayerNormalization(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self, x: Array, skip: Array, gain: Array, beta: Array, bias: Array, epsilon: float | None = None
    ) -> tuple[Array]:
        assert x.shape == skip.shape
        total = x.astype(np.float32) + skip.astype(np.float32) + bias.astype(np.float32)
        total -= total.mean(-1, keepdims=True)
        total /= np.sqrt((total * total).mean(-1, keepdims=True) + epsilon)
        return ((total * gain.astype(np.float32) + beta.astype(np.float32)).astype(x.dtype),)


class BiasGelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Array, bias: Array) -> tuple[Array]:
        total = x.astype(np.float32) + bias.astype(np.float32)
        return ((total * 0.5 * (1 + np.vectorize(erf)(total / 2**0.5))).astype(x.dtype),)


OPERATORS = [RemovePadding, RestorePadding, PackedMultiHeadAttention, SkipLayerNormalization, BiasGelu]


class CudaGraph:
    """An engine that computes a bundle's graph for CUDA in numpy."""

    name, device, threads, batch_tokens, pass_tokens, parallel_passes = "numpy", "cpu", 1, 256, 64, 2

    def __init__(self, bundle: Bundle) -> None:
        self._ports = Ports(bundle)
        self._graph = ReferenceEvaluator(onnx.load(bundle.graph("onnxruntime_cuda")), new_ops=OPERATORS)

    def run(self, input_ids: Array, attention_mask: Array, heads: Heads, token_type_ids: Any = None) -> Outputs:
        feeds = self._ports.feeds(input_ids, attention_mask, heads, token_type_ids)
        arrays = self._graph.run(self._ports.outputs, feeds)
        return self._ports.result(dict(zip(self._ports.outputs, arrays, strict=True)), input_ids.shape, heads)
