"""The encoder of XLM-R and BERT, one function for each block, written for any precision.

Hidden states travel as (rows, hidden) with rows = batch * sequence; only attention sees the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.config import Config
from .attention import AttentionShape
from .batch import Batch, Picked
from .builder import GraphBuilder
from .joints import Norm, normalised
from .linear import UNKNOWN, Activation, Dense, Role, Rows
from .operators import Operators
from .used_channels import keep_inputs, keep_outputs, used_channels

Array = NDArray[np.float32]
Fetch = Callable[[str, tuple[int, ...]], Array]  # a tensor of the checkpoint by name, checked against a shape


@dataclass(frozen=True, slots=True)
class LayerTensors:
    """The tensors of one layer, with fewer biases.

    The key bias adds the same to every score of a query, which softmax cancels. The value bias passes through
    attention unchanged, since its weights sum to 1, and is folded into the output map's bias. Both are exact. The
    query map includes attention's 1 / sqrt(head width), a power of two in BGE-M3. Channels that make no difference are
    left out.
    """

    shape: AttentionShape
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
        heads = config.architecture.heads
        prefix = f"encoder.layer.{index}."

        def dense(name: str, n: int, k: int, role: Role = Role.OTHER) -> Dense:
            return Dense(fetch(f"{prefix}{name}.weight", (n, k)), fetch(f"{prefix}{name}.bias", (n,)), role)

        query, key = (dense(f"attention.self.{name}", h, h, Role.SCORES) for name in ("query", "key"))
        value, out = (dense(f"attention.{name}", h, h, Role.VALUES) for name in ("self.value", "output.dense"))
        ffn_out = dense("output.dense", h, f, Role.FFN_OUT)
        assert query.bias is not None
        assert out.bias is not None
        assert value.bias is not None
        used = used_channels(query, key, out, ffn_out, heads)
        scale = np.float32((h // heads) ** -0.5)
        return cls(
            shape=used.shape,
            query=keep_outputs(query._replace(weight=query.weight * scale, bias=query.bias * scale), used.keys),
            key=keep_outputs(key._replace(bias=None), used.keys),
            value=keep_outputs(value._replace(bias=None), used.values),
            attention_out=keep_inputs(out._replace(bias=out.bias + out.weight @ value.bias), used.values),
            attention_norm=_norm(fetch, f"{prefix}attention.output.LayerNorm", config),
            ffn_in=keep_outputs(dense("intermediate.dense", f, h), used.inner),
            ffn_out=keep_inputs(ffn_out, used.inner),
            ffn_norm=_norm(fetch, f"{prefix}output.LayerNorm", config),
        )


class Activations(NamedTuple):
    """What the maps of a layer read: queries, keys and values; attention's output map; the FFN's inner, outer map."""

    attention: Activation = UNKNOWN
    context: Activation = UNKNOWN
    ffn: Activation = UNKNOWN
    inner: Activation = Activation(gelu=True)


UNCALIBRATED = Activations()


class EmbeddingTables(NamedTuple):
    """words (vocab, hidden), positions (positions, hidden) with token type 0 added, and the LayerNorm after them.

    Where a model is told which of two texts a token is of, positions has all rows again, with token type 1 added.
    """

    words: Array
    positions: Array
    norm: Norm


def embedding_tables(fetch: Fetch, config: Config) -> EmbeddingTables:
    """Read the tensors of the embedding block; a text that stands alone is of token type 0."""
    a = config.architecture
    types = fetch("embeddings.token_type_embeddings.weight", (config.token_types, a.hidden_size))
    positions = fetch("embeddings.position_embeddings.weight", (config.positions, a.hidden_size))
    words = fetch("embeddings.word_embeddings.weight", (a.vocab_size, a.hidden_size))
    used = types[:2] if config.segments else types[:1]
    norm = _norm(fetch, "embeddings.LayerNorm", config)
    return EmbeddingTables(words, np.concatenate([positions + kind for kind in used]), norm)


def embeddings(g: GraphBuilder, operators: Operators, tables: EmbeddingTables, config: Config, b: Batch) -> str:
    """Word + position + token type, normalised: (rows, hidden)."""
    with g.scope("embeddings"):
        words = operators.lookup(g, tables.words, b.ids)
        x = g.op("Add", words, operators.lookup(g, tables.positions, _position_ids(g, config, b)))
        return normalised(g, operators.linear, x, tables.norm)


def layer(
    g: GraphBuilder,
    operators: Operators,
    tensors: LayerTensors,
    config: Config,
    b: Batch,
    x: str,
    wanted: Picked,
    activations: Activations = UNCALIBRATED,
) -> tuple[str, str]:
    """One post-norm transformer layer: x (rows, hidden) to its output and the FFN's input, of the wanted rows only."""
    with g.scope("attention"):
        middle = _attention(g, operators, tensors, config, b, x, wanted, activations)
    with g.scope("ffn"):
        rows = Rows(middle, wanted.row_count)
        return _ffn(g, operators, tensors, config, rows, activations), middle


def _attention(
    g: GraphBuilder,
    operators: Operators,
    tensors: LayerTensors,
    config: Config,
    b: Batch,
    x: str,
    wanted: Picked,
    activations: Activations,
) -> str:
    """Attention, the residual and its LayerNorm. Keys and values need all rows of x, queries the wanted ones.

    Packed attention takes the queries of all rows too: the wanted ones are picked from its result.
    """
    linear, every, read = operators.linear, Rows(x, b.row_count), activations.attention
    if wanted.which is None or b.packing is not None:
        query, key, value = linear.project(g, every, (tensors.query, tensors.key, tensors.value), read)
    else:
        key, value = linear.project(g, every, (tensors.key, tensors.value), read)
        x = g.op("Gather", x, wanted.which)
        (query,) = linear.project(g, Rows(x, wanted.row_count), (tensors.query,), read)
    context = operators.attend(g, tensors.shape, b, wanted, query, key, value)
    if wanted.which is not None and b.packing is not None:
        x, context = g.op("Gather", x, wanted.which), g.op("Gather", context, wanted.which)
    rows, out, norm = Rows(context, wanted.row_count), tensors.attention_out, tensors.attention_norm
    return operators.joints.residual(g, linear, x, rows, out, activations.context, norm)


def _ffn(
    g: GraphBuilder,
    operators: Operators,
    tensors: LayerTensors,
    config: Config,
    x: Rows,
    activations: Activations,
) -> str:
    """The feed-forward network, the residual and its LayerNorm."""
    linear, joints = operators.linear, operators.joints
    inner = Rows(joints.gelu(g, linear, x, tensors.ffn_in, activations.ffn), x.row_count)
    norm = tensors.ffn_norm
    return joints.residual(g, linear, x.value, inner, tensors.ffn_out, activations.inner, norm)


def _position_ids(g: GraphBuilder, config: Config, b: Batch) -> str:
    """Rows of the table of positions: XLM-R counts tokens that are not <pad> from pad_id + 1; BERT counts from 0."""
    one = g.constant(1, np.int64)
    if config.first_position is None:
        length = g.op("Gather", g.op("Shape", b.ids), one)
        places = g.op("Expand", g.op("Range", g.constant(0, np.int64), length, one), g.op("Shape", b.ids))
        if b.types is None:
            return places
        return g.op("Add", places, g.op("Mul", b.types, g.constant(config.positions, np.int64)))
    pad = g.constant(config.pad_id, np.int64)
    kept = g.cast(g.op("Not", g.op("Equal", b.ids, pad)), np.int64)
    return g.op("Add", g.op("Mul", g.op("CumSum", kept, one), kept), pad)


def _norm(fetch: Fetch, name: str, config: Config) -> Norm:
    width = (config.architecture.hidden_size,)
    return Norm(fetch(f"{name}.weight", width), fetch(f"{name}.bias", width), config.epsilon)
