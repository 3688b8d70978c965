"""The encoder, one function a block: what XLM-R and BERT compute, written for any precision.

Hidden states travel as (rows, hidden) with rows = batch * sequence; only attention sees the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.config import Config
from .attention import Attend, Heads
from .batch import Batch, Picked
from .builder import GraphBuilder
from .linear import Dense, Linear, Rows
from .parts import columns, rows, used_parts

Array = NDArray[np.float32]
Fetch = Callable[[str, tuple[int, ...]], Array]  # a tensor of the checkpoint by name, checked against a shape


class Operators(NamedTuple):
    """How an engine wants linear maps and attention written."""

    linear: Linear
    attend: Attend


class Norm(NamedTuple):
    """A LayerNorm's gain and bias, (hidden,) each."""

    gain: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class LayerTensors:
    """The tensors of one layer, biases simplified.

    The key bias adds the same to every score of a query, which softmax cancels. The value bias passes through
    attention unchanged, since its weights sum to 1, and is folded into the output map's bias. Both are exact. The
    query map holds attention's 1 / sqrt(head width), a power of two in BGE-M3. Parts that make no difference are left
    out.
    """

    heads: Heads
    query: Dense
    key: Dense
    value: Dense
    attention_out: Dense
    attention_norm: Norm
    ffn_in: Dense
    ffn_out: Dense
    ffn_norm: Norm

    @classmethod
    def read(cls, fetch: Fetch, config: Config, index: int) -> LayerTensors:
        h, f = config.architecture.hidden_size, config.architecture.intermediate_size
        count = config.architecture.heads
        prefix = f"encoder.layer.{index}."

        def dense(name: str, n: int, k: int) -> Dense:
            return Dense(fetch(f"{prefix}{name}.weight", (n, k)), fetch(f"{prefix}{name}.bias", (n,)))

        query, key = dense("attention.self.query", h, h), dense("attention.self.key", h, h)
        value, out = dense("attention.self.value", h, h), dense("attention.output.dense", h, h)
        ffn_out = dense("output.dense", h, f)
        assert query.bias is not None
        assert out.bias is not None
        assert value.bias is not None
        parts = used_parts(query, key, out, ffn_out, count)
        scale = np.float32((h // count) ** -0.5)
        return cls(
            heads=parts.heads,
            query=rows(Dense(query.weight * scale, query.bias * scale), parts.keys),
            key=rows(key._replace(bias=None), parts.keys),
            value=rows(value._replace(bias=None), parts.values),
            attention_out=columns(out._replace(bias=out.bias + out.weight @ value.bias), parts.values),
            attention_norm=_norm(fetch, f"{prefix}attention.output.LayerNorm", h),
            ffn_in=rows(dense("intermediate.dense", f, h), parts.inner),
            ffn_out=columns(ffn_out, parts.inner),
            ffn_norm=_norm(fetch, f"{prefix}output.LayerNorm", h),
        )


class Ranges(NamedTuple):
    """Largest magnitude of each channel, (hidden,), of a layer's two normalised inputs in calibration."""

    attention: Array
    ffn: Array


class EmbeddingTables(NamedTuple):
    """words (vocab, hidden), places (positions, hidden) with token type 0 added, and the LayerNorm after them.

    Where a model is told which of two texts a token is of, places has all positions again with token type 1 added.
    """

    words: Array
    places: Array
    norm: Norm


def embedding_tables(fetch: Fetch, config: Config) -> EmbeddingTables:
    """The tensors of the embedding block; a text that stands alone is of token type 0."""
    a = config.architecture
    types = fetch("embeddings.token_type_embeddings.weight", (config.token_types, a.hidden_size))
    places = fetch("embeddings.position_embeddings.weight", (config.positions, a.hidden_size))
    words = fetch("embeddings.word_embeddings.weight", (a.vocab_size, a.hidden_size))
    used = types[:2] if config.segments else types[:1]
    return EmbeddingTables(
        words, np.concatenate([places + kind for kind in used]), _norm(fetch, "embeddings.LayerNorm", a.hidden_size)
    )


def embeddings(g: GraphBuilder, linear: Linear, tables: EmbeddingTables, config: Config, b: Batch) -> str:
    """Word + position + token type, normalised: (rows, hidden)."""
    with g.scope("embeddings"):
        words = linear.rows(g, tables.words, b.ids)
        x = g.op("Add", words, linear.rows(g, tables.places, _positions(g, config, b)))
        return _normalise(g, linear, x, tables.norm, config)


def layer(
    g: GraphBuilder,
    operators: Operators,
    tensors: LayerTensors,
    config: Config,
    b: Batch,
    x: str,
    wanted: Picked,
    ranges: Ranges | None = None,
) -> tuple[str, str]:
    """One post-norm transformer layer: x (rows, hidden) to (its output, the FFN's input).

    Both have the wanted rows only.
    """

    linear = operators.linear

    def project(value: str, *maps: Dense, number: str = wanted.rows, **known: Any) -> list[str]:
        return linear.project(g, Rows(value, number), maps, **known)

    with g.scope("attention"):
        # Static scales cost no fidelity here; at the FFN's input they do (benchmarks/LOG.md).
        known: dict[str, Any] = {"absmax": ranges.attention if ranges else None, "static": True}
        if wanted.which is None:
            query, key, value = project(x, tensors.query, tensors.key, tensors.value, **known)
        else:
            key, value = project(x, tensors.key, tensors.value, number=b.rows, **known)
            x = g.op("Gather", x, wanted.which)
            (query,) = project(x, tensors.query, **known)
        (context,) = project(operators.attend(g, tensors.heads, b, wanted, query, key, value), tensors.attention_out)
        x = _normalise(g, linear, g.op("Add", x, context), tensors.attention_norm, config)
    middle = x
    with g.scope("ffn"):
        (inner,) = project(x, tensors.ffn_in, absmax=ranges.ffn if ranges else None)
        (outer,) = project(g.op("Gelu", inner), tensors.ffn_out, gelu=True)
        x = _normalise(g, linear, g.op("Add", x, outer), tensors.ffn_norm, config)
    return x, middle


def _positions(g: GraphBuilder, config: Config, b: Batch) -> str:
    """Rows of `places`: XLM-R counts tokens that are not <pad> from pad_id + 1; BERT counts from 0."""
    one = g.constant(1, np.int64)
    if config.first_position is None:
        length = g.op("Gather", g.op("Shape", b.ids), one)
        places = g.op("Expand", g.op("Range", g.constant(0, np.int64), length, one), g.op("Shape", b.ids))
        if b.types is None:
            return places
        return g.op("Add", places, g.op("Mul", b.types, g.constant(config.positions, np.int64)))
    pad = g.constant(config.pad_id, np.int64)
    counts = g.op("Cast", g.op("Not", g.op("Equal", b.ids, pad)), to=7)
    return g.op("Add", g.op("Mul", g.op("CumSum", counts, one), counts), pad)


def _normalise(g: GraphBuilder, linear: Linear, x: str, norm: Norm, config: Config) -> str:
    gain, bias = g.weight(norm.gain, linear.dtype), g.weight(norm.bias, linear.dtype)
    return g.op("LayerNormalization", x, gain, bias, epsilon=config.epsilon, axis=-1)


def _norm(fetch: Fetch, name: str, hidden: int) -> Norm:
    return Norm(fetch(f"{name}.weight", (hidden,)), fetch(f"{name}.bias", (hidden,)))
