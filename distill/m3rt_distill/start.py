"""How a student starts: as a mean of the teacher's vectors of its pieces, weighted by their rarity."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from m3rt.errors import InputError

from .student import FIRST_POSITION, SPECIAL, Shape, Student

_TABLE = 0.1  # standard deviation of the embedding table: a step of Adam then moves a row by about a hundredth
_MIX = 0.2  # how much of the weighted mean a layer adds to each token
_NOISE = 0.002  # of the maps that start as the identity; ten times as much costs a fifth of what the bag finds
_COMMON = 0.3  # rarity of what is in nearly every passage, at least
_POWER = 1.5  # of the rarity, by which a token weighs in the mean: 1 and 1.5 find the same, 2 less
_SILENT = -4.0  # the logarithm of what special tokens weigh


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


def whitened(table: Tensor, rarity: NDArray[np.float32]) -> Tensor:
    """A table (vocab, hidden) whose rows differ as much in every direction, weighed by rarity.

    Training leaves most of the variance in few directions; what names and numbers differ in is among the others. The
    last channel becomes the logarithm of the rarity (vocab,) to a power, which attention makes a weight of.
    """
    words = table[:, :-1] - table[len(SPECIAL) :, :-1].mean(dim=0)
    _, scale, axes = torch.linalg.svd(words[len(SPECIAL) :], full_matrices=False)
    spread = functional.normalize(words @ axes.T / scale.clamp(min=1e-6 * float(scale[0])) @ axes, dim=-1)
    weight = torch.from_numpy(np.log(np.maximum(rarity, _COMMON))) * _POWER
    weight = weight - weight[len(SPECIAL) :].mean()
    found = torch.cat([spread * math.sqrt(spread.shape[1]), weight[:, None]], dim=1)
    found[list(SPECIAL)] = 0
    found[list(SPECIAL), -1] = _SILENT
    return found * _TABLE


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
            nn.init.zeros_(layer.output.dense.weight)
        _start_as_identity(student.colbert_linear, 1.0)
        nn.init.normal_(student.sparse_linear.weight, std=_NOISE)
        student.sparse_linear.weight[0, -1] = 0.2
        student.sparse_linear.bias.fill_(0.4)
    return student


def _start_attention(attention: nn.ModuleDict, shape: Shape) -> None:
    inner, width = attention["self"], shape.hidden // shape.heads
    nn.init.zeros_(inner.query.weight)
    inner.query.bias[::width] = 1
    nn.init.normal_(inner.key.weight, std=_NOISE)
    inner.key.weight[::width, -1] = math.sqrt(width)  # attention goes as exp(last channel), as in Bag
    _start_as_identity(inner.value, 1.0)
    _start_as_identity(attention["output"].dense, _MIX)


def _start_as_identity(linear: nn.Linear, scale: float) -> None:
    nn.init.normal_(linear.weight, std=_NOISE * scale)
    linear.weight.add_(scale * torch.eye(len(linear.weight)))


def _waves(shape: Shape) -> Tensor:
    """Sinusoids (positions, hidden), so that places that training rarely reaches resemble their neighbours."""
    place = torch.arange(shape.positions)[:, None] - FIRST_POSITION
    angle = place * torch.exp(torch.arange(0, shape.hidden, 2) * (-math.log(10_000) / shape.hidden))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, : shape.hidden]
