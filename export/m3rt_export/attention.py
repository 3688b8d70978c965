"""Attention of the wanted rows' queries over all keys and values, as each engine runs it fastest.

Queries are scaled already (LayerTensors). Inputs and result are (rows, hidden).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .batch import Batch, Picked
from .config import Config
from .graph import GraphBuilder

Attend = Callable[[GraphBuilder, Config, Batch, Picked, str, str, str], str]
_HIDDEN = -3e38  # added to a padded key's score: finite, so that no engine makes NaN of it


def fused_attention(g: GraphBuilder, config: Config, b: Batch, wanted: Picked, query: str, key: str, value: str) -> str:
    """onnxruntime's own operator.

    Without a mask the CPU kernel is flash attention, linear in memory; with one it builds all scores. Only a
    batch with padding pays for the mask.
    """
    inputs = [g.op("Reshape", x, shape) for x, shape in ((query, wanted.shape), (key, b.shape), (value, b.shape))]
    count = config.architecture.heads
    key_mask = g.shared("key_mask", lambda: g.op("Cast", b.mask, to=6))
    padded = g.shared("padded", lambda: g.op("Equal", g.op("ReduceMin", b.mask, keepdims=0), g.constant(0, np.int64)))
    context = g.choose(
        padded,
        lambda: g.op("MultiHeadAttention", *inputs, "", key_mask, num_heads=count, scale=1.0),
        lambda: g.op("MultiHeadAttention", *inputs, num_heads=count, scale=1.0),
    )
    return g.op("Reshape", context, g.constant([-1, config.architecture.hidden_size], np.int64))


def standard_attention(
    g: GraphBuilder, config: Config, b: Batch, wanted: Picked, query: str, key: str, value: str
) -> str:
    """Standard operators only, in the order that OpenVINO fuses into one kernel of its own, linear in memory."""
    count = config.architecture.heads
    split = g.constant([0, 0, count, config.architecture.hidden_size // count], np.int64)

    def heads(x: str, shape: str) -> str:
        return g.op("Transpose", g.op("Reshape", g.op("Reshape", x, shape), split), perm=(0, 2, 1, 3))

    def hidden_scores() -> str:
        kept = g.op("Cast", g.op("Unsqueeze", b.mask, g.constant([1, 2], np.int64)), to=1)
        gone = g.op("Sub", g.constant(1, np.float32), kept)
        return g.op("Mul", gone, g.constant(_HIDDEN, np.float32))  # (b, 1, 1, s)

    keys = g.op("Transpose", heads(key, b.shape), perm=(0, 1, 3, 2))  # in one step, OpenVINO would not fuse it
    scores = g.op("MatMul", heads(query, wanted.shape), keys)
    scores = g.op("Add", scores, g.shared("hidden_scores", hidden_scores))
    context = g.op("MatMul", g.op("Softmax", scores, axis=-1), heads(value, b.shape))
    merged = g.op("Transpose", context, perm=(0, 2, 1, 3))
    return g.op("Reshape", merged, g.constant([-1, config.architecture.hidden_size], np.int64))
