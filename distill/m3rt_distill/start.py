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
_NOISE = 0.002  # of maps that start as something else; ten times as much costs a fifth of what the bag finds
_WAVES = 0.05  # of positions beside words
_ALIKE = 9.0  # attention's logit between two tokens of one sense, where different ones are near 0
_APART = 22.0  # less between <s> and all others, in the first layer
_SPLIT = 4  # channels of the logit above, so that none of its weights is much above others: int8 has one scale
_ABOVE = 4.0  # the last layer's logit of any word above that of <s>
_KEYS = 16  # channels of each of the last layer's queries and keys; an export leaves the rest out
# The logarithm of a weight over x = k / (k + n), n up to 100, fitted: slope * (x - bend * gelu(sharp * (at - x))).
_SLOPE_OF_COUNT, _BEND, _SHARP, _AT = 3.05, 0.658, 7.0, 0.133
_WIDER = 2.0  # of the share, as its channel has it
_LEXICAL, _SLOPE = 0.39, 0.195  # of a word of usual rarity, and for each unit of its logarithm: near BM25's


def initialise(shape: Shape, table: Table, seed: int = 0) -> Student:
    """A student whose dense view is at once nearly anchors.mean_of_words of its table.

    The first of two or more layers finds how often a token's sense is in the text, by one head and one channel of its
    feed-forward map; the last one lets <s> gather the words; all else leaves its input as it is. shape.epsilon should
    be about 0.1: <s> is empty until the last layer, and with XLM-R's 1e-5 layer norms make as much of its first
    gradient as of a word.
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
            _bend(layers[0], shape, table)
        _gather(layers[-1].attention, shape, table)
        _read_words(student.colbert_linear.weight, table)
        nn.init.normal_(student.sparse_linear.weight, std=_NOISE)
        weights = student.sparse_linear.weight[0]
        weights[RARITY], weights[FINE] = _SLOPE * table.log, _SLOPE * table.fine
        student.sparse_linear.bias.fill_(_LEXICAL - _SLOPE * table.usual)
    return student


def _count(attention: nn.ModuleDict, shape: Shape, table: Table) -> None:
    """Write k / (k + n) of a token whose sense is n times in the text into SHARE.

    A token attends to all of its own sense, known by their signs, and to </s>, which counts as k of them: what it reads
    of </s> is BM25's saturation. <s> attends to itself, which is 0, so that it stays empty.
    """
    inner, width = attention["self"], shape.hidden // shape.heads
    used = min(width - _SPLIT - 1, table.signs)
    sign, every = _sizes(shape, table)
    for linear in (inner.query, inner.key):
        linear.weight[:width] = 0
        part = linear.weight[_SPLIT + 1 : _SPLIT + 1 + used, table.words : table.words + used]
        part.copy_(torch.eye(used) * math.sqrt(_ALIKE * math.sqrt(width) / used) / sign)
    # Logits are shared by query and key, and left to biases where they can be: int8 has one scale for all channels.
    apart = math.sqrt(_APART * math.sqrt(width) / _SPLIT)
    inner.query.bias[:_SPLIT], inner.query.weight[:_SPLIT, EVERY] = apart, -apart / every  # empty but for <s>
    inner.key.weight[:_SPLIT, EVERY] = -apart / every
    inner.query.bias[_SPLIT] = (_ALIKE + math.log(SATURATION)) * math.sqrt(width)
    end = float(_normed(shape, table.rows[2])[END])
    inner.key.weight[_SPLIT, END] = 1 / end
    # One head is enough: where values and output weights are 0 no gradient ever comes, and an export leaves them out.
    inner.value.weight.zero_()
    inner.value.weight[0, END] = 1 / end
    attention["output"].dense.weight[SHARE, 0] = _WIDER


def _bend(layer: nn.Module, shape: Shape, table: Table) -> None:
    """Make SHARE, read by one slope, the logarithm that a word's weight needs."""
    _, every = _sizes(shape, table)
    unit = layer.intermediate.dense.weight[0]
    unit.zero_()
    unit[EVERY], unit[SHARE] = _SHARP * _AT / every, -_SHARP / (every * _WIDER)
    layer.output.dense.weight[SHARE, 0] = -_BEND * _WIDER * every


def _gather(attention: nn.ModuleDict, shape: Shape, table: Table) -> None:
    """Let every head attend by rarity, place and share, and add what it reads of the words."""
    inner, width = attention["self"], shape.hidden // shape.heads
    nn.init.zeros_(inner.query.weight)
    inner.query.bias[::width] = math.sqrt(width)
    nn.init.normal_(inner.key.weight, std=_NOISE)
    inner.key.weight.view(shape.heads, width, -1)[:, _KEYS:] = 0  # as the queries are: no gradient ever reaches them
    _, every = _sizes(shape, table)
    reads = (EVERY, _ABOVE), (RARITY, table.log), (FINE, table.fine), (PLACE, 1.0), (SHARE, _SLOPE_OF_COUNT / _WIDER)
    for channel, size in reads:
        inner.key.weight[::width, channel] = size / every
    # Turned, and turned back: the same in float, but int8 would round what training adds to the ones of an identity.
    turned, _ = torch.linalg.qr(torch.randn(shape.hidden, table.gathered))
    inner.value.weight.zero_()
    inner.value.weight[:, : table.gathered] = turned
    attention["output"].dense.weight.zero_()
    attention["output"].dense.weight[: table.gathered] = _MIX * turned.T


def _read_words(weight: Tensor, table: Table) -> None:
    """Let a map (n, hidden) read words and signs, as many as it has outputs."""
    nn.init.normal_(weight, std=_NOISE)
    same = min(table.gathered, len(weight))
    weight[:same, :same].add_(torch.eye(same))
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


def _sizes(shape: Shape, table: Table) -> tuple[float, float]:
    """What a sign and EVERY's 1 are after a layer norm."""
    usual = _normed(shape, table.rows[len(SPECIAL) :])
    return float(usual[:, table.words : table.gathered].std()), float(usual[:, EVERY].mean())


def _normed(shape: Shape, rows: Tensor) -> Tensor:
    return nn.functional.layer_norm(rows, rows.shape[-1:], eps=shape.epsilon)
