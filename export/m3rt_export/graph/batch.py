"""The graph's inputs, the shapes made from them, and the rows of hidden states that are wanted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..checkpoint.config import Config
from .builder import GraphBuilder


class Packing(NamedTuple):
    """Where hidden states lie that have no row for padding, by value name."""

    places: str  # (b, s) int32: the padded positions of all rows in their order, then those of padding
    starts: str  # (b + 1,) int32: the first row of each sequence, and the number of rows at the end


class Picked(NamedTuple):
    """The rows of hidden states that a layer must compute, by value name."""

    which: str | None  # (rows,) int64 into the hidden states; None: all of them
    row_count: str  # (1,) int64: their number
    shape: str  # (3,) int64: b, picked positions of each sequence, hidden
    hidden: int
    packing: Packing | None = None
    unless: str | None = None  # boolean: all rows, not those of first tokens alone

    def sized(self, g: GraphBuilder, width: int) -> str:
        """The shape with `width` in the place of hidden."""
        if width == self.hidden:
            return self.shape
        ends = g.constant([0], np.int64), g.constant([2], np.int64)
        return g.op("Concat", g.op("Slice", self.shape, *ends), g.constant([width], np.int64), axis=0)

    def by_sequence(self, g: GraphBuilder, x: str) -> str:
        """The picked rows x (rows, hidden) as (b, positions, hidden); packed rows get zeros where padding was."""
        if (packing := self.packing) is None:
            return g.op("Reshape", x, self.shape)

        def padded() -> str:
            return g.op("RestorePadding", x, packing.places)

        def first() -> str:
            return g.op("Unsqueeze", x, g.constant([1], np.int64))

        if self.which is None:
            return padded()
        return first() if self.unless is None else g.choose(self.unless, padded, first)


class Batch(NamedTuple):
    """The graph's inputs and the shapes made from them, by value name."""

    ids: str  # (b, s)
    mask: str  # (b, s) int64
    row_count: str  # (1,) int64: the number of rows of hidden states, b * s with padding
    shape: str  # (3,) int64: b, s, hidden
    hidden: int
    types: str | None  # (b, s) int64: 1 in the second of two texts; None: there is one text
    packing: Packing | None = None  # None: hidden states have a row for each token of padding too

    @property
    def all(self) -> Picked:
        return Picked(None, self.row_count, self.shape, self.hidden, self.packing)


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


def packed(g: GraphBuilder, b: Batch, x: str) -> tuple[Batch, str]:
    """Leave the rows of padding out of the hidden states x, in operators of onnxruntime's CUDA provider."""
    one = g.constant([1], np.int64)
    lengths = g.cast(g.op("ReduceSum", b.mask, one, keepdims=0), np.int32)
    rows, places, starts, _ = g.ops("RemovePadding", 4, g.op("Reshape", x, b.shape), lengths)
    count = g.op("Slice", g.op("Shape", rows), g.constant([0], np.int64), one)
    return b._replace(row_count=count, packing=Packing(places, starts)), rows


def first_tokens(g: GraphBuilder, config: Config, b: Batch, unless: str | None) -> Picked:
    """Only the first token of each sequence, or all tokens where the boolean `unless` holds."""
    if b.packing is not None:
        return _first_packed(g, b, b.packing, unless)
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


def _first_packed(g: GraphBuilder, b: Batch, packing: Packing, unless: str | None) -> Picked:
    def first() -> str:
        starts = g.op("Slice", packing.starts, g.constant([0], np.int64), g.constant([-1], np.int64))
        return g.cast(starts, np.int64)

    def every() -> str:
        count = g.op("Squeeze", b.row_count, g.constant([0], np.int64))
        return g.op("Range", g.constant(0, np.int64), count, g.constant(1, np.int64))

    index = first() if unless is None else g.choose(unless, every, first)
    return Picked(index, g.op("Shape", index), b.shape, b.hidden, packing, unless)
