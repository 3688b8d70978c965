"""The encoder's inner activations on calibration text, one float layer at a time.

Only one layer's weights are in memory, for a model of any size: the graph builder writes the layer alone, onnxruntime
runs it, and its output is the next layer's input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rt.bundle.fields import Port
from m3rt.bundle.manifest import TOKENIZER
from m3rt.engines.onnxruntime import evaluate
from m3rt.text.pairs import PairTokenizer
from m3rt.text.tokenizer import Tokenizer

from ..checkpoint.config import Config
from ..texts import calibration_texts
from .attention import fused_attention
from .batch import batch
from .builder import GraphBuilder
from .compensation import mean_products
from .heads import INPUTS
from .layers import Activations, Fetch, LayerTensors, embedding_tables, layer
from .linear import UNKNOWN, Activation, Dense, FloatLinear, Rows
from .operators import float_operators

Array = NDArray[np.float32]
_MAX_TOKENS = 64  # longer calibration texts are cut
_BATCHES = 4


class _Recording(FloatLinear):
    """Float maps that keep the names of the values that they read."""

    def __init__(self) -> None:
        super().__init__(np.float32)
        self.read: list[str] = []

    def project(self, g: GraphBuilder, x: Rows, maps: Sequence[Dense], activation: Activation = UNKNOWN) -> list[str]:
        self.read.append(x.value)
        return super().project(g, x, maps, activation)


def calibrate(fetch: Fetch, config: Config, directory: Path) -> Iterator[Activations]:
    """Yield each layer's Activations in turn; `directory` holds tokenizer.json. Takes one float forward pass."""
    ids, mask, types = _texts(Tokenizer(directory / TOKENIZER, config.special_tokens), config)
    x = _embed(fetch, config, ids, types).reshape(*ids.shape, -1)
    batches: list[dict[str, NDArray[Any]]] = [
        {"input_ids": ids[part], "attention_mask": mask[part], "x_in": x[part].reshape(-1, x.shape[-1])}
        for part in _alike(mask.sum(axis=1))
    ]
    kept = [batch["attention_mask"].reshape(-1).astype(bool) for batch in batches]
    for index in range(config.architecture.layers):
        g, linear = GraphBuilder(None), _Recording()
        float32 = float_operators(np.float32, fused_attention)._replace(linear=linear)
        tensors = LayerTensors.read(fetch, config, index)
        b = batch(g, config)
        after, _ = layer(g, float32, tensors, config, b, "x_in", b.all)
        names = [f"read_{i}" for i in range(len(linear.read))]
        for name, value in zip(("x", *names), (after, *linear.read), strict=True):
            g.output(value, name)
        results = _run(g, batches, ("x", *names), config)
        read = [[rows[k] for rows, k in zip(values, kept, strict=True)] for values in zip(*results, strict=True)]
        yield _activations([np.concatenate(rows) for rows in read[1:]])
        for feeds, (after_layer, *_) in zip(batches, results, strict=True):
            feeds["x_in"] = after_layer


def _alike(lengths: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], slice]]:
    """Parts of texts of about one length, each as its rows and its columns: half of a single batch would be padding."""
    parts = np.array_split(np.argsort(lengths, kind="stable"), min(_BATCHES, len(lengths)))
    return [(rows, slice(int(lengths[rows].max()))) for rows in parts]


def _activations(read: list[Array]) -> Activations:
    """Describe what each map read: rows (tokens, k) in the order of Activations."""
    attention, context, ffn, inner = read
    # One scale for all texts costs no fidelity in attention; at the FFN's input it does (benchmarks/LOG.md).
    return Activations(
        Activation(_absmax(attention), static=True, moments=mean_products(attention)),
        Activation(moments=mean_products(context)),
        Activation(_absmax(ffn), moments=mean_products(ffn)),
        Activation(gelu=True, moments=mean_products(inner)),
    )


def _absmax(rows: Array) -> Array:
    largest: Array = np.abs(rows).max(axis=0)
    return largest


def _texts(tokenizer: Tokenizer, config: Config) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ids, mask and token types (n, longest) of the calibration texts, in pairs for a reranker."""
    texts, pad = calibration_texts(), config.special_tokens.pad
    if config.classifier is None:
        tokens = tokenizer.encode(texts, min(_MAX_TOKENS, config.max_tokens))
        ids, mask = tokens.padded(np.arange(len(texts)), pad)
        return ids, mask, np.zeros_like(ids)
    packer = PairTokenizer(tokenizer, config.special_tokens, config.classifier.separators, config.max_tokens)
    pairs = list(zip(texts, texts[1:] + texts[:1], strict=True))
    limit = min(2 * _MAX_TOKENS, config.max_tokens)
    return packer.encode(pairs, limit, limit * 3 // 4).padded(np.arange(len(pairs)), pad)


def _embed(fetch: Fetch, config: Config, ids: NDArray[np.int64], types: NDArray[np.int64]) -> NDArray[np.float32]:
    """The embedding block in numpy: as a graph it would need the whole word table in memory."""
    tables = embedding_tables(fetch, config)
    if config.first_position is None:
        positions: NDArray[np.int64] = np.arange(ids.shape[1]) + types * config.positions
    else:
        tokens = ids != config.pad_id
        positions = tokens.cumsum(axis=1) * tokens + config.pad_id
    x = (tables.words[ids] + tables.positions[positions]).reshape(-1, config.architecture.hidden_size)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.sqrt((x * x).mean(axis=1, keepdims=True) + config.epsilon)
    return x * tables.norm.gain + tables.norm.bias


def _run(
    g: GraphBuilder, batches: Sequence[dict[str, NDArray[Any]]], names: tuple[str, ...], config: Config
) -> list[list[NDArray[np.float32]]]:
    hidden = config.architecture.hidden_size
    inputs = [*INPUTS, Port("x_in", "float32", ("rows", hidden))]
    model = g.model(inputs, [Port(n, "float32", ("rows", f"{n}_width")) for n in names])
    return evaluate(model.SerializeToString(), batches, list(names))
