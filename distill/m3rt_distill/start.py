"""How a student starts: as a mean of the teacher's vectors of its pieces, weighted by their rarity."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3rt.errors import InputError

from .student import FIRST_POSITION, SPECIAL, Shape, Student

_TABLE = 0.1  # standard deviation of the embedding table: a step of Adam then moves a row by about a hundredth
_SHARPNESS = 1.0  # attention goes as exp(sharpness * last channel), which is what Bag does
_MIX = 0.2  # how much of the weighted mean a layer adds to each token


def starting_table(pieces: NDArray[np.float32], rarity: NDArray[np.float32]) -> Tensor:
    """The teacher's projected vectors of all pieces as an embedding table (vocab, hidden).

    The last channel, the least principal component, gives way to the rarity (vocab,), which attention and the sparse
    head read there.
    """
    if rarity.shape != pieces.shape[:1]:
        raise InputError(f"rarity is {rarity.shape}, expected {pieces.shape[:1]}: one number a piece")
    table = torch.from_numpy(pieces) * math.sqrt(pieces.shape[1])
    spread = torch.from_numpy((rarity - rarity[4:].mean()) / max(float(rarity[4:].std()), 1e-6))
    table[:, -1] = spread
    table[list(SPECIAL), :] = 0
    table[list(SPECIAL[1:]), -1] = spread.min()
    return table * _TABLE


def initialise(shape: Shape, table: Tensor, seed: int = 0) -> Student:
    """A student whose dense view is at once the weighted mean of `table`'s rows (vocab, hidden), as bag.Bag's is.

    <s> starts as zeros, so that only what attention gathers fills it, while other tokens stay close to themselves.
    """
    if table.shape != (shape.vocab, shape.hidden):
        raise InputError(f"the table is {tuple(table.shape)}, expected ({shape.vocab}, {shape.hidden})")
    torch.manual_seed(seed)
    student = Student(shape)
    with torch.no_grad():
        for module in student.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        tables = student.backbone.embeddings
        tables.word_embeddings.weight.copy_(table)
        tables.word_embeddings.weight[0] = 0
        places = _waves(shape)
        places[FIRST_POSITION] = 0
        tables.position_embeddings.weight.copy_(places * _TABLE * 0.1)
        nn.init.zeros_(tables.token_type_embeddings.weight)
        for layer in student.backbone.encoder["layer"]:
            _start_attention(layer.attention, shape)
        student.colbert_linear.weight.add_(torch.eye(shape.hidden))
        student.sparse_linear.weight[0, -1] = 0.2
        student.sparse_linear.bias.fill_(0.4)
    return student


def _start_attention(attention: nn.ModuleDict, shape: Shape) -> None:
    inner, width = attention["self"], shape.hidden // shape.heads
    nn.init.zeros_(inner.query.weight)
    inner.query.bias[::width] = 1
    inner.key.weight[::width, -1] = _SHARPNESS * math.sqrt(width)
    inner.value.weight.add_(torch.eye(shape.hidden))
    attention["output"].dense.weight.add_(_MIX * torch.eye(shape.hidden))


def _waves(shape: Shape) -> Tensor:
    """Sinusoids (positions, hidden), so that places that training rarely reaches resemble their neighbours."""
    place = torch.arange(shape.positions)[:, None] - FIRST_POSITION
    angle = place * torch.exp(torch.arange(0, shape.hidden, 2) * (-math.log(10_000) / shape.hidden))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, : shape.hidden]
