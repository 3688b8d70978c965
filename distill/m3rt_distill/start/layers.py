"""The layers and heads of a new student, so set that its dense view is a mean of its words before any training.

    token  after the embeddings    first layer                         last layer
    word   words, signs, EVERY,    attends to its sense and </s>:      its keys hold the log of its weight, read from
           PLACE, RARITY, FINE     SHARE tells how often it occurs     EVERY, SHARE, PLACE, RARITY and FINE
    </s>   EVERY, END              counts as k tokens of each sense
    <s>    empty                   attends to itself: stays empty      attends to the words by weight: the dense view

Layers between the first and the last one pass their input on. A student of one layer does not count senses.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from m3rt.errors import InputError

from ..constants import FORMULAS, START
from ..student.formulas import place_weights
from ..student.model import FIRST_POSITION, SPECIAL, Shape, Student
from .channels import END, EVERY, FINE, PLACE, RARITY, SHARE, StudentTable


def initialise(shape: Shape, table: StudentTable, seed: int = 0) -> Student:
    """Make a student whose dense view is nearly formulas.mean_of_words of its table.

    shape.epsilon should be about 0.1: <s> is empty until the last layer, and with XLM-R's 1e-5 layer norms make as much
    of its first gradient as of a word. Raises InputError if the table has another shape.
    """
    if table.rows.shape != (shape.vocab, shape.hidden):
        raise InputError(f"the table is {tuple(table.rows.shape)}, expected ({shape.vocab}, {shape.hidden})")
    torch.manual_seed(seed)
    student = Student(shape)
    with torch.no_grad():
        for module in student.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=START.linear_std)
                nn.init.zeros_(module.bias)
        embeddings = student.backbone.embeddings
        embeddings.word_embeddings.weight.copy_(table.rows)
        embeddings.position_embeddings.weight.copy_(_position_rows(shape, table))
        nn.init.zeros_(embeddings.token_type_embeddings.weight)
        layers = list(student.backbone.encoder["layer"])
        for layer in layers:
            nn.init.zeros_(layer.output.dense.weight)
            nn.init.zeros_(layer.attention["output"].dense.weight)
        if len(layers) > 1:
            _count_senses(layers[0].attention, shape, table)
            _bend_share(layers[0], shape, table)
        _gather_words(layers[-1].attention, shape, table)
        _read_words(student.colbert_linear.weight, table)
        _read_rarity(student.sparse_linear, table)
    return student


def _count_senses(attention: nn.ModuleDict, shape: Shape, table: StudentTable) -> None:
    """Write k / (k + n) into SHARE of a token whose sense is n times in the text.

    A token attends to all tokens of its sense, which have its signs, and to </s>, which counts as k of them: the part
    that it reads of </s> is BM25's saturation. <s> attends to itself, which is 0, so that it stays empty.
    """
    inner, width, split = attention["self"], shape.hidden // shape.heads, START.start_apart_channels
    used = min(width - split - 1, table.signs)
    sign, every = _normed_sizes(shape, table)
    for linear in (inner.query, inner.key):
        linear.weight[:width] = 0
        part = linear.weight[split + 1 : split + 1 + used, table.words : table.words + used]
        part.copy_(torch.eye(used) * math.sqrt(START.same_sense_logit * math.sqrt(width) / used) / sign)
    # Query and key share each logit, and biases take it where they can, since int8 has one scale for all weights.
    apart = math.sqrt(START.start_apart_logit * math.sqrt(width) / split)
    inner.query.bias[:split], inner.query.weight[:split, EVERY] = apart, -apart / every  # 0 for all tokens but <s>
    inner.key.weight[:split, EVERY] = -apart / every
    inner.query.bias[split] = (START.same_sense_logit + math.log(FORMULAS.saturation)) * math.sqrt(width)
    end = float(_normed(shape, table.rows[2])[END])
    inner.key.weight[split, END] = 1 / end
    # One head is enough: no gradient reaches zeros in both values and output weights, and an export leaves them out.
    inner.value.weight.zero_()
    inner.value.weight[0, END] = 1 / end
    attention["output"].dense.weight[SHARE, 0] = START.share_units


def _bend_share(layer: nn.Module, shape: Shape, table: StudentTable) -> None:
    """Bend SHARE by one feed-forward channel, so that the last layer's slope turns it into the log of a weight."""
    _, every = _normed_sizes(shape, table)
    unit = layer.intermediate.dense.weight[0]
    unit.zero_()
    unit[EVERY], unit[SHARE] = (
        START.count_sharpness * START.count_knee / every,
        -START.count_sharpness / (every * START.share_units),
    )
    layer.output.dense.weight[SHARE, 0] = -START.count_bend * START.share_units * every


def _gather_words(attention: nn.ModuleDict, shape: Shape, table: StudentTable) -> None:
    """Let every head attend by rarity, place and share, and add the mean of words and signs that it reads."""
    inner, width = attention["self"], shape.hidden // shape.heads
    nn.init.zeros_(inner.query.weight)
    inner.query.bias[::width] = math.sqrt(width)
    nn.init.normal_(inner.key.weight, std=START.noise_std)
    # Queries are zero beyond these channels as well, so that no gradient ever reaches them.
    inner.key.weight.view(shape.heads, width, -1)[:, START.key_channels :] = 0
    _, every = _normed_sizes(shape, table)
    logit_per_unit = {
        EVERY: START.word_above_start_logit,
        RARITY: table.log_per_rarity,
        FINE: table.log_per_fine,
        PLACE: 1.0,
        SHARE: START.count_slope / START.share_units,
    }
    for channel, logit in logit_per_unit.items():
        inner.key.weight[::width, channel] = logit / every
    # A random rotation and its transpose instead of identities: equal in float, but int8 would round the small updates
    # of training to nothing beside an identity's ones.
    rotation, _ = torch.linalg.qr(torch.randn(shape.hidden, table.gathered))
    inner.value.weight.zero_()
    inner.value.weight[:, : table.gathered] = rotation
    attention["output"].dense.weight.zero_()
    attention["output"].dense.weight[: table.gathered] = START.mean_gain * rotation.T


def _read_words(weight: Tensor, table: StudentTable) -> None:
    """Let a map (n, hidden) read the first n channels of words and signs."""
    nn.init.normal_(weight, std=START.noise_std)
    read = min(table.gathered, len(weight))
    weight[:read, :read].add_(torch.eye(read))
    weight[:, table.gathered :] = 0


def _read_rarity(sparse: nn.Linear, table: StudentTable) -> None:
    """Let the lexical weight of a word rise with the log of its rarity."""
    nn.init.normal_(sparse.weight, std=START.noise_std)
    slope = START.lexical_weight_per_log
    sparse.weight[0, RARITY], sparse.weight[0, FINE] = slope * table.log_per_rarity, slope * table.log_per_fine
    sparse.bias.fill_(START.lexical_weight - slope * table.mean_log)


def _position_rows(shape: Shape, table: StudentTable) -> Tensor:
    """Return (positions, hidden): sinusoids in words and signs, the log of the place's weight in PLACE.

    With sinusoids, positions that training rarely reaches resemble their neighbours.
    """
    place = torch.arange(shape.positions)[:, None] - FIRST_POSITION
    angle = place * torch.exp(torch.arange(0, shape.hidden, 2) * (-math.log(10_000) / shape.hidden))
    rows = START.wave_amplitude * torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, : shape.hidden]
    rows[:, table.gathered :] = 0
    rows[FIRST_POSITION:, PLACE] = place_weights(shape.positions - FIRST_POSITION).log()
    rows[FIRST_POSITION] = 0  # <s> stays empty
    return rows


def _normed_sizes(shape: Shape, table: StudentTable) -> tuple[float, float]:
    """Return the size of a sign and of EVERY's 1 after a layer norm."""
    states = _normed(shape, table.rows[len(SPECIAL) :])
    return float(states[:, table.words : table.gathered].std()), float(states[:, EVERY].mean())


def _normed(shape: Shape, rows: Tensor) -> Tensor:
    return nn.functional.layer_norm(rows, rows.shape[-1:], eps=shape.epsilon)
