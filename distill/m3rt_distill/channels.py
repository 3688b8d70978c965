"""What each channel of a new student's embedding table holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from m3rt_export.digits import on_grid
from m3rt_export.products import numbered, product, side
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from m3rt.errors import InputError

from .student import SPECIAL

# Counted from the end: 1 for all ids but <s>; </s> alone; empty, for the share of a repeated sense that the first layer
# finds; the logarithm of what a place weighs, in the table of positions; that of the rarity, in steps and the rest.
EVERY, END, SHARE, PLACE, RARITY, FINE = range(-6, 0)
OTHERS = 6
_SIGNS = 1.0  # length of all signs beside that of all words; .85 finds less in one language, more between two
_END = 2.0  # no more than words reach, so that int8's range is of words
_LONGEST = 2.5  # of a channel of words beside its root mean square, so that rounding leaves all rows as long
_LOG = 0.3  # of the logarithm of the rarity, so that all rows are nearly as long
_REACH, _TOGETHER = 2, 3  # steps of a channel of words to either side of 0, by which a byte holds three of them
_BLOCK = 12  # signs that belong together; more or fewer find alike
_STEPS = 14  # of the rarity: as many as a column of four bits has
_COMMON = 0.3  # rarity of what is in nearly every passage, at least


@dataclass(frozen=True, slots=True)
class Table:
    """rows (vocab, hidden), and what reads them needs to know.

    words, signs: how many channels hold directions of words, and random signs, in this order. log, fine: how much of
    the logarithm of the rarity is 1 in RARITY and in FINE. usual: a usual row's logarithm, as these channels have it.
    """

    rows: Tensor
    words: int
    signs: int
    log: float
    fine: float
    usual: float

    @property
    def gathered(self) -> int:
        """How many channels, the first ones, the dense view is a mean of."""
        return self.words + self.signs


def student_table(
    directions: Tensor, rarity: NDArray[np.float32], hidden: int, senses: NDArray[np.int64], seed: int = 0
) -> Table:
    """A student's rows from directions (vocab, n) of words, of which as many channels are used as fill whole bytes.

    Signs: random, half of them positive, so that different senses (vocab,) stay apart however alike they are; a mean of
    many ids needs the width more than it needs meaning. All rows have one mean and length, so that a layer norm does
    the same to each.
    """
    count, most = directions.shape
    left = {n: hidden - OTHERS - n for n in range(_TOGETHER, most + 1, _TOGETHER)}
    words = max((n for n, signs in left.items() if signs > 0 and signs % 2 == 0), default=0)
    if not words:
        raise InputError(f"hidden is {hidden} for {most + 1} components, expected at least 13 for 7 or more")
    signs = left[words]
    rows = torch.zeros(count, hidden)
    rows[:, :words] = _even(directions[:, :words])
    rows[:, words : words + signs] = _SIGNS * math.sqrt(words / signs) * _signs(senses, signs, seed)
    steps, fine, step = _digits(np.log(np.maximum(rarity, _COMMON)))
    rows[:, RARITY], rows[:, FINE] = torch.from_numpy(steps) * _LOG, torch.from_numpy(fine) * _LOG
    rows[list(SPECIAL), : words + signs] = 0
    rows[list(SPECIAL), RARITY], rows[list(SPECIAL), FINE] = -_LOG * step * _STEPS / 2, 0  # as common as can be
    rows[:, EVERY] = 1
    rows[0] = 0  # so that only what attention gathers fills <s>
    rows[2, END] = _END
    # As long as other rows, so that int8's ranges are of words, but without signs: </s> is then the same to every id.
    long = words // 3 * 2
    rows[list(SPECIAL[1:]), :long] = _LONGEST * (1 - 2 * (torch.arange(long) % 2))  # to the ends of the grid
    for part, reach in ((rows[:, :words], _REACH), (rows[:, words:], _STEPS // 2)):
        part.copy_(torch.from_numpy(on_grid(part.numpy(), reach)))  # a bundle then keeps it in few bits, exactly
    usual = float((steps + fine * step / 2)[len(SPECIAL) :].mean())
    return Table(rows, words, signs, 1 / _LOG, step / 2 / _LOG, usual)


def whitened(vectors: Tensor) -> Tensor:
    """Unit rows (vocab, n) that differ as much in every direction, special ids left out of the account.

    Training leaves most of the variance in few directions, and what names and numbers differ in is among the others.
    """
    centred = vectors - vectors[len(SPECIAL) :].mean(dim=0)
    _, scale, axes = torch.linalg.svd(centred[len(SPECIAL) :], full_matrices=False)
    return functional.normalize(centred @ axes.T / scale.clamp(min=1e-6 * float(scale[0])) @ axes, dim=-1)


def _even(words: Tensor) -> Tensor:
    """Rows of mean 0 and root mean square 1 without outliers, nearly."""
    for _ in range(4):
        words = words - words.mean(dim=1, keepdim=True)
        words = functional.normalize(words, dim=1) * math.sqrt(words.shape[1])
        words = words.clamp(-_LONGEST, _LONGEST)
    return words


def _signs(senses: NDArray[np.int64], signs: int, seed: int) -> Tensor:
    """(vocab, signs): as many 1 as -1 for each sense, zeros for special tokens, products of two small tables' rows.

    Blocks of one of them, of _BLOCK columns, have as many 1 as -1; the other keeps or turns a block as a whole.
    """
    random = np.random.default_rng(seed)
    first, number = numbered(senses[len(SPECIAL) :])
    rows = side(len(first))
    blocks, turns = [], []
    for start in range(0, signs, _BLOCK):
        width = min(_BLOCK, signs - start)
        blocks.append((random.random((rows, width)).argsort(axis=1) < width // 2) * 2 - 1)
        turns.append(np.repeat(random.integers(0, 2, (rows, 1)) * 2 - 1, width, axis=1))
    left, right = (np.concatenate(parts, axis=1).astype(np.int8) for parts in (blocks, turns))
    found = product(left, right, 1).rows(len(first) + 1)
    return torch.from_numpy(found[np.concatenate([[0] * len(SPECIAL), number + 1])]).float()


def _digits(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Values less the middle of their range as steps, and what is left in halves of a step: -1 to 1."""
    middle = (values.max() + values.min()) / 2
    step = max(float(values.max() - values.min()) / _STEPS, 1e-6)
    near = np.rint((values - middle) / step) * step
    return near.astype(np.float32), ((values - middle - near) / (step / 2)).astype(np.float32), step
