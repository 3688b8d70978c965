"""The student: XLM-RoBERTa's encoder under its own tensor names, and BGE-M3's three heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from m3rt.errors import InputError

PAD, FIRST_POSITION = 1, 2  # XLM-R's id of <pad>, and its row for the position of the first token
SPECIAL = (0, 1, 2, 3)  # the ids of <s> <pad> </s> <unk>, which are never lexical


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a student.

    positions counts XLM-R's two unused rows. colbert is the size of ColBERT's vectors; None means hidden.
    """

    vocab: int
    hidden: int = 256
    layers: int = 3
    heads: int = 4
    ffn: int = 1024
    positions: int = 514
    epsilon: float = 1e-5
    colbert: int | None = None

    def __post_init__(self) -> None:
        sizes = self.vocab, self.hidden, self.layers, self.heads, self.ffn, self.positions - FIRST_POSITION
        if min(*sizes, self.hidden if self.colbert is None else self.colbert) < 1:
            raise InputError(f"{self}: expected sizes above 0 and more than {FIRST_POSITION} positions")
        if self.hidden % self.heads:
            raise InputError(f"hidden is {self.hidden}, expected a multiple of heads {self.heads}")


class HeadOutputs(NamedTuple):
    """The results of the three heads for a batch of texts.

    dense: (b, h) unit length. ids: (b, s) int64. lexical: (b, s) lexical weights >= 0, 0 at special tokens.
    colbert: (b, s - 1, d) unit length, 0 at padding.
    """

    dense: Tensor
    ids: Tensor
    lexical: Tensor
    colbert: Tensor


def is_lexical(ids: Tensor) -> Tensor:
    """Mark the ids that stand for words, as a mask of the same shape."""
    return torch.isin(ids, ids.new_tensor(SPECIAL), invert=True)


class _Embeddings(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocab, shape.hidden)
        self.position_embeddings = nn.Embedding(shape.positions, shape.hidden)
        self.token_type_embeddings = nn.Embedding(1, shape.hidden)
        self.LayerNorm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        real = ids != PAD
        places = self.position_embeddings(real.cumsum(1) * real + PAD)
        return self.LayerNorm(self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0])


class _SelfAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query, self.key, self.value = (nn.Linear(shape.hidden, shape.hidden) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        b, s, h = x.shape
        q, k, v = (f(x).view(b, s, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(q, k, v, mask)  # (b, heads, s, h / heads)
        return mixed.transpose(1, 2).reshape(b, s, h)


class _Output(nn.Module):
    """LayerNorm(dense + residual), which XLM-R has after attention and after the feed-forward map."""

    def __init__(self, width: int, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(width, shape.hidden)
        self.LayerNorm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": _SelfAttention(shape), "output": _Output(shape.hidden, shape)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(shape.hidden, shape.ffn)})
        self.output = _Output(shape.ffn, shape)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(functional.gelu(self.intermediate["dense"](x)), x)


class Encoder(nn.Module):
    """XLM-RoBERTa: token ids (b, s) int64, padded with 1, to the last hidden state (b, s, h)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = _Embeddings(shape)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(shape) for _ in range(shape.layers))})

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embeddings(ids)
        real = ids != PAD
        mask = None if bool(real.all()) else real[:, None, None, :]
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        return x


class Student(nn.Module):
    """An encoder with BGE-M3's heads: sparse h -> 1, ColBERT h -> shape.colbert."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.backbone = Encoder(shape)
        self.sparse_linear = nn.Linear(shape.hidden, 1)
        self.colbert_linear = nn.Linear(shape.hidden, shape.colbert or shape.hidden)

    def forward(self, ids: Tensor) -> HeadOutputs:
        """Compute the three heads for token ids (b, s) int64."""
        return self.heads(ids, self.backbone(ids))

    def heads(self, ids: Tensor, hidden: Tensor) -> HeadOutputs:
        """Compute the three heads from the last hidden state (b, s, h)."""
        lexical = functional.relu(self.sparse_linear(hidden)[..., 0]) * is_lexical(ids)
        colbert = functional.normalize(self.colbert_linear(hidden[:, 1:]), dim=-1) * (ids[:, 1:, None] != PAD)
        return HeadOutputs(functional.normalize(hidden[:, 0], dim=-1), ids, lexical, colbert)
