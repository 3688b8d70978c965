"""The embedding table of a new student: the layout of its channels, and the values that they start with.

             0           words     words + signs                               hidden
             [   words   |   signs   | EVERY | END | SHARE | PLACE | RARITY | FINE ]
    m3-tiny       252         510        1      1      1       1        1       1      768 in all

    channel  value in a piece's row                            written by     read by
    words    its meaning: a direction, five values a channel   student_table  last layer's values, ColBERT head
    signs    its sense: random 1 and -1                        student_table  first layer's queries and keys,
                                                                              last layer's values, ColBERT head
    EVERY    1, but 0 for <s>                                  student_table  both layers' keys, first layer's queries
                                                                              and feed-forward map
    END      2 for </s>, 0 for all others                      student_table  first layer's keys and values
    SHARE    0; in the states, how much a repeated sense       first layer    first layer's feed-forward map,
             counts                                                           last layer's keys
    PLACE    0; the position's row holds the log of its        layers.py      last layer's keys
             weight
    RARITY   the log of its rarity, in 15 values               student_table  last layer's keys, sparse head
    FINE     the rest of that log, in 15 smaller values        student_table  last layer's keys, sparse head

The dense view is the mean of words and signs, weighted by the last layer's keys. Training leaves the table as it is
made here, so that m3rt_export can keep it exactly: three channels of words in a byte, two of the others, and all signs
as products of two small tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from m3rt_export.compact.digits import on_grid
from m3rt_export.compact.products import numbered, product, side
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from m3rt.errors import InputError

from ..constants import TABLE
from ..student.model import SPECIAL

SCALAR_CHANNELS = 6  # after words and signs; each has a meaning alone
EVERY, END, SHARE, PLACE, RARITY, FINE = range(-SCALAR_CHANNELS, 0)  # counted from the end


@dataclass(frozen=True, slots=True)
class StudentTable:
    """rows (vocab, hidden) in the layout above, and the sizes that its readers need.

    words, signs: the number of channels of each. log_per_rarity, log_per_fine: the log rarity that 1 stands for in
    RARITY and in FINE. mean_log: the mean log rarity of all pieces, less the middle of the range, which is 0 there.
    """

    rows: Tensor
    words: int
    signs: int
    log_per_rarity: float
    log_per_fine: float
    mean_log: float

    @property
    def gathered(self) -> int:
        """The number of channels, the first ones, that the dense view is a mean of."""
        return self.words + self.signs


def student_table(
    directions: Tensor, rarity: NDArray[np.float32], hidden: int, senses: NDArray[np.int64], seed: int = 0
) -> StudentTable:
    """Make a student's rows from word directions (vocab, n), rarity (vocab,) in nats, and senses (vocab,).

    It uses as many directions as fill whole bytes. Signs are random and half of them positive, so that different senses
    stay apart however alike their words are: a mean of many ids needs the width more than it needs meaning. All rows
    have one mean and length, so that a layer norm does the same to each.
    """
    count, components = directions.shape
    words, signs = _widths(components, hidden)
    rows = torch.zeros(count, hidden)
    rows[:, :words] = _even(directions[:, :words])
    sign = TABLE.sign_norm_per_word_norm * math.sqrt(words / signs)
    rows[:, words : words + signs] = sign * _signs(senses, signs, seed)
    logs = _split(np.log(np.maximum(rarity, TABLE.min_rarity_nats)))
    units = TABLE.rarity_units_per_log
    rows[:, RARITY], rows[:, FINE] = torch.from_numpy(logs.coarse) * units, torch.from_numpy(logs.fine) * units
    rows[list(SPECIAL), : words + signs] = 0
    most_common = -units * logs.step * TABLE.rarity_steps / 2
    rows[list(SPECIAL), RARITY], rows[list(SPECIAL), FINE] = most_common, 0
    rows[:, EVERY] = 1
    rows[0] = 0  # so that <s> holds only the mean that attention gathers
    rows[2, END] = TABLE.end_value
    # Special ids get words, at the ends of the grid, that make them as long as other rows, so that int8's ranges fit
    # words. They get no signs, so that all ids have the same logit to </s>.
    filled = words // 3 * 2
    rows[list(SPECIAL[1:]), :filled] = TABLE.word_clip_in_rms * (1 - 2 * (torch.arange(filled) % 2))
    for part, steps in ((rows[:, :words], TABLE.word_steps_each_side), (rows[:, words:], TABLE.rarity_steps // 2)):
        part.copy_(torch.from_numpy(on_grid(part.numpy(), steps)))  # a bundle then keeps it in few bits, exactly
    mean_log = float((logs.coarse + logs.fine * logs.step / 2)[len(SPECIAL) :].mean())
    return StudentTable(rows, words, signs, 1 / units, logs.step / 2 / units, mean_log)


def whiten(vectors: Tensor) -> Tensor:
    """Stretch rows (vocab, n) so that they differ as much in every direction, and return them at unit length.

    Special ids are left out of the statistics. Training leaves most of the variance in few directions, and names and
    numbers differ in the others.
    """
    centred = vectors - vectors[len(SPECIAL) :].mean(dim=0)
    _, scale, axes = torch.linalg.svd(centred[len(SPECIAL) :], full_matrices=False)
    return functional.normalize(centred @ axes.T / scale.clamp(min=1e-6 * float(scale[0])) @ axes, dim=-1)


def _widths(components: int, hidden: int) -> tuple[int, int]:
    """Return how many channels words and signs get: words fill whole bytes, and signs are an even number."""
    step = TABLE.word_channels_per_byte
    signs_of = {words: hidden - SCALAR_CHANNELS - words for words in range(step, components + 1, step)}
    words = max((words for words, signs in signs_of.items() if signs > 0 and signs % 2 == 0), default=0)
    if not words:
        raise InputError(f"hidden is {hidden} for {components + 1} components, expected at least 13 for 7 or more")
    return words, signs_of[words]


def _even(words: Tensor) -> Tensor:
    """Return rows of mean 0 and root mean square 1 without outliers, nearly."""
    for _ in range(TABLE.word_clip_passes):
        words = words - words.mean(dim=1, keepdim=True)
        words = functional.normalize(words, dim=1) * math.sqrt(words.shape[1])
        words = words.clamp(-TABLE.word_clip_in_rms, TABLE.word_clip_in_rms)
    return words


def _signs(senses: NDArray[np.int64], signs: int, seed: int) -> Tensor:
    """Draw (vocab, signs): as many 1 as -1 for each sense, zeros for special tokens.

    Each row is the product of two rows, one from each of two small tables. In the left table every block of columns has
    as many 1 as -1; the right table keeps or turns a block as a whole.
    """
    random = np.random.default_rng(seed)
    first, number = numbered(senses[len(SPECIAL) :])
    count = side(len(first))
    blocks, turns = [], []
    for start in range(0, signs, TABLE.sign_block_channels):
        width = min(TABLE.sign_block_channels, signs - start)
        blocks.append((random.random((count, width)).argsort(axis=1) < width // 2) * 2 - 1)
        turns.append(np.repeat(random.integers(0, 2, (count, 1)) * 2 - 1, width, axis=1))
    left, right = (np.concatenate(parts, axis=1).astype(np.int8) for parts in (blocks, turns))
    sense_rows = product(left, right, 1).rows(len(first) + 1)
    return torch.from_numpy(sense_rows[np.concatenate([[0] * len(SPECIAL), number + 1])]).float()


@dataclass(frozen=True, slots=True)
class _SplitLogs:
    """Values less the middle of their range: coarse (n,) in multiples of step, fine (n,) the rest in half steps."""

    coarse: NDArray[np.float32]
    fine: NDArray[np.float32]
    step: float


def _split(values: NDArray[np.float32]) -> _SplitLogs:
    middle = (values.max() + values.min()) / 2
    step = max(float(values.max() - values.min()) / TABLE.rarity_steps, 1e-6)
    coarse = np.rint((values - middle) / step) * step
    return _SplitLogs(coarse.astype(np.float32), ((values - middle - coarse) / (step / 2)).astype(np.float32), step)
