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
_SHARPNESS = 1.0  # attention goes as exp(sharpness * standardised rarity)
_MIX = 0.2  # how much of the weighted mean a layer adds to each token


def initialise(shape: Shape, pieces: NDArray[np.float32], rarity: NDArray[np.float32], seed: int = 0) -> Student:
    """A student whose dense view is at once a rarity-weighted mean of teacher vectors.

    pieces: (vocab, hidden) the teacher's projected unit vector of each piece alone. rarity: (vocab,). The last channel
    of the table, the least principal component, gives way to the rarity: attention and the sparse head read it there.
    <s> starts as zeros, so that only what attention gathers fills it, while other tokens stay close to themselves.
    """
    if pieces.shape != (shape.vocab, shape.hidden) or rarity.shape != (shape.vocab,):
        raise InputError(f"pieces {pieces.shape}, rarity {rarity.shape}: expected ({shape.vocab}, {shape.hidden})")
    torch.manual_seed(seed)
    student = Student(shape)
    with torch.no_grad():
        for module in student.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        _start_table(student, pieces, rarity)
        for layer in student.backbone.encoder["layer"]:
            _start_attention(layer.attention, shape)
        student.colbert_linear.weight.add_(torch.eye(shape.hidden))
        student.sparse_linear.weight[0, -1] = 0.2
        student.sparse_linear.bias.fill_(0.4)
    return student


def _start_table(student: Student, pieces: NDArray[np.float32], rarity: NDArray[np.float32]) -> None:
    tables, hidden = student.backbone.embeddings, student.shape.hidden
    table = torch.from_numpy(pieces) * math.sqrt(hidden)
    spread = torch.from_numpy((rarity - rarity[4:].mean()) / max(float(rarity[4:].std()), 1e-6))
    table[:, -1] = spread
    table[list(SPECIAL), :] = 0
    table[list(SPECIAL[1:]), -1] = spread.min()
    places = _waves(student.shape)
    places[FIRST_POSITION] = 0
    tables.word_embeddings.weight.copy_(table * _TABLE)
    tables.position_embeddings.weight.copy_(places * _TABLE * 0.1)
    nn.init.zeros_(tables.token_type_embeddings.weight)


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
