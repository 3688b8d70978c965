"""XLM-R and BERT with BGE-M3's heads in plain numpy, written after transformers and FlagEmbedding: an oracle.

It reads a checkpoint and shares nothing with the graph builder. Everything is float64, texts are padded
together and masked, and no step is fused, so that it is slow and easy to compare with modeling_xlm_roberta.py.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from m3rt_export.tensors.reader import open_tensors

Array = np.ndarray[Any, Any]
erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True, slots=True)
class Reference:
    """What n texts give: dense (n, hidden), lexical weights and ColBERT vectors (tokens - 1, dim) of each."""

    dense: Array
    lexical_weights: list[dict[int, float]] | None
    colbert: list[Array] | None


def encode(checkpoint: Path, texts_ids: Sequence[Sequence[int]], *, pooling: str = "cls") -> Reference:
    """Encode token ids, <s> and </s> included, in one padded batch."""
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    ids, mask = pad(texts_ids, config["pad_token_id"])
    states = last_hidden_state(checkpoint, config, ids, mask)
    pooled = states[:, 0] if pooling == "cls" else (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    if not (checkpoint / "sparse_linear.pt").exists():
        return Reference(normalize(pooled), None, None)
    weights = np.maximum(linear(states, head(checkpoint, "sparse_linear")), 0)[..., 0]
    vectors = normalize(linear(states[:, 1:], head(checkpoint, "colbert_linear")))
    return Reference(
        dense=normalize(pooled),
        lexical_weights=[largest_weights(*row) for row in zip(texts_ids, weights, strict=True)],
        colbert=[v[: len(i) - 1] for i, v in zip(texts_ids, vectors, strict=True)],
    )


def last_hidden_state(checkpoint: Path, config: dict[str, Any], ids: Array, mask: Array) -> Array:
    state = {name: array.astype(np.float64) for name, array in open_tensors(checkpoint).items()}
    epsilon = config["layer_norm_eps"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def dense(x: Array, name: str) -> Array:
        return linear(x, (state[f"{name}.weight"], state[f"{name}.bias"]))

    x = state["embeddings.word_embeddings.weight"][ids]
    x = x + state["embeddings.position_embeddings.weight"][positions(config, ids)]
    x = norm(x + state["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        q, k, v = (dense(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        context = attention(q, k, v, mask, config["num_attention_heads"])
        x = norm(x + dense(context, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = dense(x, f"{layer}.intermediate.dense")
        gelu = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + dense(gelu, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x


def positions(config: dict[str, Any], ids: Array) -> Array:
    """XLM-R counts tokens that are not <pad>, from pad + 1; BERT counts all from 0."""
    if config["model_type"] == "bert":
        return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    tokens = ids != config["pad_token_id"]
    return np.cumsum(tokens, axis=1) * tokens + config["pad_token_id"]


def attention(query: Array, key: Array, value: Array, mask: Array, heads: int) -> Array:
    b, s, hidden = query.shape
    q, k, v = (x.reshape(b, s, heads, -1).transpose(0, 2, 1, 3) for x in (query, key, value))
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(hidden // heads)
    scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return (shares @ v).transpose(0, 2, 1, 3).reshape(b, s, hidden)


def largest_weights(ids: Sequence[int], weights: Array) -> dict[int, float]:
    """FlagEmbedding's loop: the largest weight of each id, special tokens left out."""
    result: dict[int, float] = {}
    for token, weight in zip(ids, weights.tolist(), strict=False):
        if token not in (0, 1, 2, 3) and weight > result.get(token, 0):
            result[token] = weight
    return result


def head(checkpoint: Path, name: str) -> tuple[Array, Array]:
    tensors = open_tensors(checkpoint / f"{name}.pt")
    return tensors["weight"].astype(np.float64), tensors["bias"].astype(np.float64)


def linear(x: Array, weight_and_bias: tuple[Array, Array]) -> Array:
    weight, bias = weight_and_bias
    return x @ weight.T + bias


def normalize(x: Array) -> Array:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Array, Array]:
    """ids and mask (n, longest): padded on the right."""
    longest = max(map(len, rows))
    ids = np.array([[*row, *[pad_id] * (longest - len(row))] for row in rows])
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
