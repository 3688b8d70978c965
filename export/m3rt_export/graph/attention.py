"""Attention of the wanted rows' queries over all keys and values, as each engine runs it fastest.

Queries are scaled already (LayerTensors). Queries and keys are (rows, heads * keys), values and result (rows, heads *
values), which is hidden each unless a layer has parts that nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .batch import Batch, Picked
from .builder import GraphBuilder


class Heads(NamedTuple):
    """How many heads a layer's attention has, and how wide each one's keys and values are."""

    number: int
    keys: int
    values: int


Attend = Callable[[GraphBuilder, Heads, Batch, Picked, str, str, str], str]
_HIDDEN = -3e38  # added to a padded key's score: finite, so that no engine makes NaN of it


def fused_attention(g: GraphBuilder, heads: Heads, b: Batch, wanted: Picked, query: str, key: str, value: str) -> str:
    """onnxruntime's own operator.

    Without a mask the CPU kernel is flash attention, linear in memory; with one it builds all scores. Only a
    batch with padding pays for the mask.
    """
    count = heads.number
    asked = g.op("Reshape", query, wanted.sized(g, count * heads.keys))
    keys = g.op("Reshape", key, b.all.sized(g, count * heads.keys))
    inputs = asked, keys, g.op("Reshape", value, b.all.sized(g, count * heads.values))
    key_mask = g.shared("key_mask", lambda: g.op("Cast", b.mask, to=6))
    padded = g.shared("padded", lambda: g.op("Equal", g.op("ReduceMin", b.mask, keepdims=0), g.constant(0, np.int64)))
    context = g.choose(
        padded,
        lambda: g.op("MultiHeadAttention", *inputs, "", key_mask, num_heads=count, scale=1.0),
        lambda: g.op("MultiHeadAttention", *inputs, num_heads=count, scale=1.0),
    )
    return g.op("Reshape", context, g.constant([-1, count * heads.values], np.int64))


def standard_attention(
    g: GraphBuilder, heads: Heads, b: Batch, wanted: Picked, query: str, key: str, value: str
) -> str:
    """Standard operators only, in the order that OpenVINO fuses into one kernel of its own, linear in memory."""
    count = heads.number

    def by_head(x: str, rows: Picked, width: int) -> str:
        split = g.constant([0, 0, count, width], np.int64)
        whole = g.op("Reshape", x, rows.sized(g, count * width))
        return g.op("Transpose", g.op("Reshape", whole, split), perm=(0, 2, 1, 3))

    def hidden_scores() -> str:
        kept = g.op("Cast", g.op("Unsqueeze", b.mask, g.constant([1, 2], np.int64)), to=1)
        gone = g.op("Sub", g.constant(1, np.float32), kept)
        return g.op("Mul", gone, g.constant(_HIDDEN, np.float32))  # (b, 1, 1, s)

    keys = g.op(
        "Transpose", by_head(key, b.all, heads.keys), perm=(0, 1, 3, 2)
    )  # in one step, OpenVINO would not fuse it
    scores = g.op("MatMul", by_head(query, wanted, heads.keys), keys)
    scores = g.op("Add", scores, g.shared("hidden_scores", hidden_scores))
    context = g.op("MatMul", g.op("Softmax", scores, axis=-1), by_head(value, b.all, heads.values))
    merged = g.op("Transpose", context, perm=(0, 2, 1, 3))
    return g.op("Reshape", merged, g.constant([-1, count * heads.values], np.int64))
