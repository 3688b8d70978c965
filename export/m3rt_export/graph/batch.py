"""The graph's inputs, the shapes made from them, and the rows of hidden states that are wanted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..checkpoint.config import Config
from .builder import GraphBuilder


class Picked(NamedTuple):
    """The rows of hidden states that a layer must compute, by value name."""

    which: str | None  # (rows,) int64 into the hidden states; None: all of them
    row_count: str  # (1,) int64: their number
    shape: str  # (3,) int64: b, picked positions of each sequence, hidden
    hidden: int

    def sized(self, g: GraphBuilder, width: int) -> str:
        """The shape with `width` in the place of hidden."""
        if width == self.hidden:
            return self.shape
        ends = g.constant([0], np.int64), g.constant([2], np.int64)
        return g.op("Concat", g.op("Slice", self.shape, *ends), g.constant([width], np.int64), axis=0)


class Batch(NamedTuple):
    """The graph's inputs and the shapes made from them, by value name."""

    ids: str  # (b, s)
    mask: str  # (b, s) int64
    row_count: str  # (1,) int64: b * s, the number of rows of hidden states
    shape: str  # (3,) int64: b, s, hidden
    hidden: int
    types: str | None  # (b, s) int64: 1 in the second of two texts; None: there is one text

    @property
    def all(self) -> Picked:
        return Picked(None, self.row_count, self.shape, self.hidden)


def batch(g: GraphBuilder, config: Config) -> Batch:
    """The shapes and masks that every layer shares, from the inputs input_ids and attention_mask."""
    ids, mask = "input_ids", "attention_mask"
    hidden = g.constant([config.architecture.hidden_size], np.int64)
    return Batch(
        ids=ids,
        mask=mask,
        row_count=g.op("Reshape", g.op("Size", ids), g.constant([1], np.int64)),
        shape=g.op("Concat", g.op("Shape", ids), hidden, axis=0),
        hidden=config.architecture.hidden_size,
        types="token_type_ids" if config.segments else None,
    )


def first_tokens(g: GraphBuilder, config: Config, b: Batch, unless: str | None) -> Picked:
    """Only the first token of each sequence, or all tokens where the boolean `unless` holds."""
    zero, one = g.constant(0, np.int64), g.constant(1, np.int64)
    total = g.op("Size", b.ids)
    length = g.op("Gather", g.op("Shape", b.ids), one)
    step = length if unless is None else g.op("Where", unless, one, length)
    index = g.op("Range", zero, total, step)
    picked = g.op("Div", length, step)
    first = g.op("Slice", b.shape, g.constant([0], np.int64), g.constant([1], np.int64))
    flat = g.op("Reshape", picked, g.constant([1], np.int64))
    shape = g.op("Concat", first, flat, g.constant([config.architecture.hidden_size], np.int64), axis=0)
    return Picked(index, g.op("Shape", index), shape, config.architecture.hidden_size)
