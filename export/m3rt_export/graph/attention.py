"""Attention of the wanted rows' queries over all keys and values, in the form that each engine runs fastest.

Queries are scaled already (LayerTensors). Queries and keys are (rows, heads * key_width), values and result (rows,
heads * value_width); both widths are hidden / heads unless channels were left out (used_channels).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .batch import Batch, Picked
from .builder import GraphBuilder


class AttentionShape(NamedTuple):
    """A layer's number of attention heads, and the width of each one's keys and values."""

    heads: int
    key_width: int
    value_width: int


# Writes attention of queries, keys and values, in this order.
Attend = Callable[[GraphBuilder, AttentionShape, Batch, Picked, str, str, str], str]
_PADDING_SCORE = -3e38  # added to a padded key's score; finite, because some engines turn an infinity into NaN


def fused_attention(
    g: GraphBuilder, shape: AttentionShape, b: Batch, wanted: Picked, query: str, key: str, value: str
) -> str:
    """Attention in onnxruntime's own operator.

    Without a mask the CPU kernel is flash attention, linear in memory; with a mask it stores all scores. So only a
    batch with padding takes the branch with the mask.
    """
    heads = shape.heads
    queries = g.op("Reshape", query, wanted.sized(g, heads * shape.key_width))
    keys = g.op("Reshape", key, b.all.sized(g, heads * shape.key_width))
    inputs = queries, keys, g.op("Reshape", value, b.all.sized(g, heads * shape.value_width))
    key_mask = g.shared("key_mask", lambda: g.cast(b.mask, np.int32))
    padded = g.shared("padded", lambda: g.op("Equal", g.op("ReduceMin", b.mask, keepdims=0), g.constant(0, np.int64)))
    context = g.choose(
        padded,
        lambda: g.op("MultiHeadAttention", *inputs, "", key_mask, num_heads=heads, scale=1.0),
        lambda: g.op("MultiHeadAttention", *inputs, num_heads=heads, scale=1.0),
    )
    return g.op("Reshape", context, g.constant([-1, heads * shape.value_width], np.int64))


def standard_attention(
    g: GraphBuilder, shape: AttentionShape, b: Batch, wanted: Picked, query: str, key: str, value: str
) -> str:
    """Attention in standard operators, in the order that OpenVINO fuses into its own kernel, linear in memory."""
    heads = shape.heads

    def by_head(x: str, picked: Picked, width: int) -> str:
        split = g.constant([0, 0, heads, width], np.int64)
        merged = g.op("Reshape", x, picked.sized(g, heads * width))
        return g.op("Transpose", g.op("Reshape", merged, split), perm=(0, 2, 1, 3))

    def padding_scores() -> str:
        kept = g.cast(g.op("Unsqueeze", b.mask, g.constant([1, 2], np.int64)), np.float32)
        padded = g.op("Sub", g.constant(1, np.float32), kept)
        return g.op("Mul", padded, g.constant(_PADDING_SCORE, np.float32))  # (b, 1, 1, s)

    # Two transposes of the keys: OpenVINO does not fuse one that does both.
    keys = g.op("Transpose", by_head(key, b.all, shape.key_width), perm=(0, 1, 3, 2))
    scores = g.op("MatMul", by_head(query, wanted, shape.key_width), keys)
    scores = g.op("Add", scores, g.shared("padding_scores", padding_scores))
    context = g.op("MatMul", g.op("Softmax", scores, axis=-1), by_head(value, b.all, shape.value_width))
    merged = g.op("Transpose", context, perm=(0, 2, 1, 3))
    return g.op("Reshape", merged, g.constant([-1, heads * shape.value_width], np.int64))


def packed_attention(
    g: GraphBuilder, shape: AttentionShape, b: Batch, wanted: Picked, query: str, key: str, value: str
) -> str:
    """Attention over packed rows, in the operator of onnxruntime's CUDA provider: flash attention, without padding.

    Its queries are those of all rows; a bias here would make it copy queries, keys and values first.
    """
    assert b.packing is not None
    inputs = query, key, value, "", b.packing.places, b.packing.starts
    return g.op("PackedMultiHeadAttention", *inputs, num_heads=shape.heads, scale=1.0)
