"""The three output heads; a boolean input switches each of them on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from m3rt.bundle.fields import Port
from m3rt.errors import CheckpointError

from ..checkpoint import layout
from ..checkpoint.config import Config
from ..tensors.reader import open_tensors
from .batch import Batch, Picked, first_tokens
from .builder import GraphBuilder
from .linear import Dense
from .operators import Leave

_MIN_NORM = 1e-12  # the eps of torch.nn.functional.normalize


class HeadTensors(NamedTuple):
    """BGE-M3's sparse (1, hidden) and ColBERT (dim, hidden) maps, float32."""

    sparse: Dense
    colbert: Dense


INPUTS = (
    Port("input_ids", "int64", ("batch", "tokens")),
    Port("attention_mask", "int64", ("batch", "tokens")),
)
_SWITCHES = tuple(Port(name, "bool", ()) for name in ("return_dense", "return_sparse", "return_colbert_vecs"))


def read_heads(directory: Path, config: Config) -> HeadTensors:
    """Read both head files; CheckpointError if one is missing (FlagEmbedding would keep random weights)."""
    missing = [name for name in layout.HEADS.values() if not (directory / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{directory} has no {' and no '.join(missing)}, expected BGE-M3's heads; for a model that is dense only "
            "add --dense-only"
        )
    hidden = config.architecture.hidden_size
    sparse, colbert = (open_tensors(directory / name) for name in layout.HEADS.values())
    dim = colbert["weight"].shape[0] if "weight" in colbert and colbert["weight"].ndim else hidden
    return HeadTensors(
        Dense(sparse.require("weight", (1, hidden)), sparse.require("bias", (1,))),
        Dense(colbert.require("weight", (dim, hidden)), colbert.require("bias", (dim,))),
    )


def ports(config: Config, heads: HeadTensors | None) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The graph's inputs and outputs."""
    dense = Port("dense_vecs", "float32", ("batch", config.architecture.hidden_size))
    if heads is None:
        return INPUTS, (dense,)
    weights = Port("token_weights", "float32", ("batch", "tokens"))
    colbert = Port("colbert_vecs", "float32", ("batch", "tokens_1", len(heads.colbert.weight)))
    return (*INPUTS, *_SWITCHES), (dense, weights, colbert)


def wanted_rows(g: GraphBuilder, config: Config, b: Batch, heads: HeadTensors | None) -> Picked:
    """The rows of the last layer that the heads read: the dense head with CLS pooling reads only <s>."""
    if config.pooling != "cls":
        return b.all
    every_token = None if heads is None else g.op("Or", "return_sparse", "return_colbert_vecs")
    return first_tokens(g, config, b, unless=every_token)


def write_heads(
    g: GraphBuilder, leave: Leave, config: Config, wanted: Picked, hidden: str, heads: HeadTensors | None
) -> None:
    """Write the outputs, in float32, from the wanted rows of the last hidden state (rows, hidden).

    dense_vecs: <s> or the mean, normalised. token_weights: relu of the sparse map, one number for each token.
    colbert_vecs: the ColBERT map of every token but <s>, normalised. A head that is switched off gets no rows, so that
    it costs nothing.
    """
    states = g.cast(wanted.by_sequence(g, hidden), np.float32)  # (b, s or 1, hidden)
    if heads is None:
        write_dense(g, config, states, leave)
        return
    with g.scope("dense_vecs"):
        zero = g.constant([0], np.int64)
        end = g.op("Where", "return_dense", g.constant([np.iinfo(np.int32).max], np.int64), zero)
        g.output(g.op("Slice", _dense(g, config, states, leave), zero, end, zero), "dense_vecs")
    with g.scope("token_weights"):
        g.output(_token_weights(g, _tokens(g, states, "return_sparse", 0), heads.sparse), "token_weights")
    with g.scope("colbert_vecs"):
        g.output(_colbert(g, _tokens(g, states, "return_colbert_vecs", 1), heads.colbert), "colbert_vecs")


def _tokens(g: GraphBuilder, states: str, switch: str, first: int) -> str:
    """The tokens from number `first` on if the boolean `switch` holds, else none: (b, t, hidden)."""
    start, one = g.constant([first], np.int64), g.constant([1], np.int64)
    end = g.op("Where", switch, g.constant([np.iinfo(np.int32).max], np.int64), start)
    return g.op("Slice", states, start, end, one)


def write_dense(g: GraphBuilder, config: Config, states: str, leave: Leave) -> None:
    """Write the only output of a dense model, from hidden states (b, s, hidden)."""
    g.output(_dense(g, config, states, leave), "dense_vecs")


def _dense(g: GraphBuilder, config: Config, states: str, leave: Leave) -> str:
    hidden = config.architecture.hidden_size
    if config.pooling == "cls":
        return _unit(g, leave(g, g.op("Gather", states, g.constant(0, np.int64), axis=1), hidden))
    one = g.constant([1], np.int64)
    mask = g.op("Unsqueeze", g.cast("attention_mask", np.float32), g.constant([2], np.int64))
    total = g.op("ReduceSum", g.op("Mul", states, mask), one, keepdims=0)
    mean = g.op("Div", total, g.op("ReduceSum", mask, one, keepdims=0))
    return _unit(g, leave(g, mean, hidden))


def _token_weights(g: GraphBuilder, states: str, sparse: Dense) -> str:
    weights = _map(g, states, sparse)
    return g.op("Relu", g.op("Squeeze", weights, g.constant([2], np.int64)))


def _colbert(g: GraphBuilder, states: str, colbert: Dense) -> str:
    return _unit(g, _map(g, states, colbert))


def _map(g: GraphBuilder, x: str, dense: Dense) -> str:
    assert dense.bias is not None
    product = g.op("MatMul", x, g.weight(np.ascontiguousarray(dense.weight.T)))
    return g.op("Add", product, g.weight(dense.bias))


def _unit(g: GraphBuilder, x: str) -> str:
    norm = g.op("ReduceL2", x, g.constant([-1], np.int64), keepdims=1)
    return g.op("Div", x, g.op("Max", norm, g.constant(_MIN_NORM, np.float32)))
