"""How a student starts: its dense view is a mean of its words, by rarity, place and how often each occurs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from m3rt.errors import InputError

from .anchors import SATURATION, place_weights
from .channels import END, EVERY, FINE, PLACE, RARITY, SHARE, Table
from .student import FIRST_POSITION, SPECIAL, Shape, Student

_MIX = 2.5  # how much of the weighted mean the last layer adds to each token; ColBERT finds less with .2 and 1
_NOISE = 0.002  # of the maps that start as the identity; ten times as much costs a fifth of what the bag finds
_WAVES = 0.05  # of positions beside words
_ALIKE = 9.0  # attention's logit between two tokens of one id, where different ids are near 0
_APART = 24.0  # less between <s> and all others, in the first layer
_FIRST = 1.2  # of the logarithm of what a place weighs, by regression
_COUNT = 2.8  # the logarithm of a weight over the share that it is read from, by regression
_LEXICAL, _SLOPE = 0.6, 0.3  # of a word of usual rarity, and for each unit of its logarithm: near BM25's


def initialise(shape: Shape, table: Table, seed: int = 0) -> Student:
    """A student whose dense view is at once nearly anchors.mean_of_words of its table.

    The first of two or more layers finds how often a token's id is in the text, the last one lets <s> gather the words;
    layers between leave all as it is, and so do all feed-forward maps. shape.epsilon should be about 0.1: <s> is empty
    until the last layer, and with XLM-R's 1e-5 layer norms make as much of its first gradient as of a word.
    """
    if table.rows.shape != (shape.vocab, shape.hidden):
        raise InputError(f"the table is {tuple(table.rows.shape)}, expected ({shape.vocab}, {shape.hidden})")
    torch.manual_seed(seed)
    student = Student(shape)
    with torch.no_grad():
        for module in student.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        tables = student.backbone.embeddings
        tables.word_embeddings.weight.copy_(table.rows)
        tables.position_embeddings.weight.copy_(_places(shape, table))
        nn.init.zeros_(tables.token_type_embeddings.weight)
        layers = list(student.backbone.encoder["layer"])
        for layer in layers:
            nn.init.zeros_(layer.output.dense.weight)
            nn.init.zeros_(layer.attention["output"].dense.weight)
        if len(layers) > 1:
            _count(layers[0].attention, shape, table)
        _gather(layers[-1].attention, shape, table)
        _read_words(student.colbert_linear.weight, table, 1.0)
        nn.init.normal_(student.sparse_linear.weight, std=_NOISE)
        weights = student.sparse_linear.weight[0]
        weights[RARITY], weights[FINE] = _SLOPE * table.log, _SLOPE * table.fine
        student.sparse_linear.bias.fill_(_LEXICAL - _SLOPE * table.usual)
    return student


def _count(attention: nn.ModuleDict, shape: Shape, table: Table) -> None:
    """Write k / (k + n) of a token whose id is n times in the text into SHARE.

    A token attends to all with its own id, known by their signs, and to </s>, which counts as k of them: what it reads
    of </s> is BM25's saturation. <s> attends to itself, which is 0, so that it stays empty.
    """
    inner, width = attention["self"], shape.hidden // shape.heads
    used = min(width - 2, table.signs)
    usual = _normed(shape, table.rows[len(SPECIAL) :])
    sign, every = float(usual[:, table.words : table.gathered].std()), float(usual[:, EVERY].mean())
    for linear in (inner.query, inner.key):
        linear.weight[:width] = 0
        part = linear.weight[2 : 2 + used, table.words : table.words + used]
        part.copy_(torch.eye(used) * math.sqrt(_ALIKE * math.sqrt(width) / used) / sign)
    # Logits are shared by query and key, and left to biases where they can be: int8 has one scale for all channels.
    apart = math.sqrt(_APART * math.sqrt(width))
    inner.query.bias[0], inner.query.weight[0, EVERY] = apart, -apart / every  # empty but for <s>
    inner.key.weight[0, EVERY] = -apart / every
    inner.query.bias[1] = (_ALIKE + math.log(SATURATION)) * math.sqrt(width)
    end = float(_normed(shape, table.rows[2])[END])
    inner.key.weight[1, END] = 1 / end
    inner.value.weight[:width] = 0
    inner.value.weight[0, END] = 1 / end
    attention["output"].dense.weight[SHARE, 0] = 1


def _gather(attention: nn.ModuleDict, shape: Shape, table: Table) -> None:
    """Let every head attend by rarity, place and share, and add what it reads of the words."""
    inner, width = attention["self"], shape.hidden // shape.heads
    nn.init.zeros_(inner.query.weight)
    inner.query.bias[::width] = math.sqrt(width)
    nn.init.normal_(inner.key.weight, std=_NOISE)
    log = 1 / float(_normed(shape, table.rows[len(SPECIAL) :])[:, EVERY].mean())
    for channel, size in ((RARITY, table.log), (FINE, table.fine), (PLACE, _FIRST), (SHARE, _COUNT)):
        inner.key.weight[::width, channel] = size * log
    _read_words(inner.value.weight, table, 1.0)
    _read_words(attention["output"].dense.weight, table, _MIX)


def _read_words(weight: Tensor, table: Table, scale: float) -> None:
    nn.init.normal_(weight, std=_NOISE * scale)
    same = min(table.gathered, len(weight))
    weight[:same, :same].add_(scale * torch.eye(same))
    weight[:, table.gathered :] = 0


def _places(shape: Shape, table: Table) -> Tensor:
    """Sinusoids (positions, hidden), so that places that training rarely reaches resemble their neighbours."""
    place = torch.arange(shape.positions)[:, None] - FIRST_POSITION
    angle = place * torch.exp(torch.arange(0, shape.hidden, 2) * (-math.log(10_000) / shape.hidden))
    waves = _WAVES * torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, : shape.hidden]
    waves[:, table.gathered :] = 0
    waves[FIRST_POSITION:, PLACE] = place_weights(shape.positions - FIRST_POSITION).log()
    waves[FIRST_POSITION] = 0
    return waves


def _normed(shape: Shape, rows: Tensor) -> Tensor:
    return nn.functional.layer_norm(rows, rows.shape[-1:], eps=shape.epsilon)
