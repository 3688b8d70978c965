"""Embedding look-ups: how each precision stores a table, and reads its rows by id."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compact.digits import packed
from .builder import GraphBuilder
from .compact_table import compact_lookup
from .int4_linear import LEAST_WIDTH
from .quantize import quantize_rows
from .quantize_blocks import packed_pairs, quantize_blocks

Array = NDArray[np.float32]
# Components of a row with one scale in 4 bits: the operator's least, and what benchmarks/LOG.md chose.
_MIN_BLOCK, _MAX_BLOCK, _MAX_BLOCK_OF_NARROW = 16, 128, 32
_ROWS_AT_A_TIME = 8192  # are rounded, so that their float copies stay small
# Writes the look-up of ids of any shape in a table (vocab, hidden): a value (number of ids, hidden).
Lookup = Callable[[GraphBuilder, Array, str], str]


def float_lookup(dtype: Any) -> Lookup:
    """The look-up in a table of floats."""

    def lookup(g: GraphBuilder, table: Array, ids: str) -> str:
        flat = _flat(g, ids)
        return g.op("Gather", g.weight(table, dtype), flat)

    return lookup


def int8_lookup(g: GraphBuilder, table: Array, ids: str) -> str:
    """The look-up in int8 with a scale for each row, for onnxruntime; a table that packs loses nothing."""
    return _int8_lookup(g, table, ids, lambda codes, scale: g.op("DequantizeLinear", codes, scale, axis=0))


def int4_lookup(g: GraphBuilder, table: Array, ids: str) -> str:
    """The look-up in 4 bits with a scale and a zero for each block, in onnxruntime's own operator.

    A table that packs loses nothing; one whose rows are no whole number of blocks of 16 is kept in int8.
    """
    block = gcd(table.shape[1], _MAX_BLOCK if table.shape[1] >= LEAST_WIDTH else _MAX_BLOCK_OF_NARROW)
    if block < _MIN_BLOCK or packed(table):
        return int8_lookup(g, table, ids)
    parts = [quantize_blocks(table[i : i + _ROWS_AT_A_TIME], block) for i in range(0, len(table), _ROWS_AT_A_TIME)]
    codes = np.concatenate([packed_pairs(part.codes).reshape(len(part.codes), -1) for part in parts])
    scales = np.concatenate([part.scales for part in parts])
    zeros = np.concatenate([packed_pairs(part.zeros) for part in parts])
    inputs = (g.weight(codes), _flat(g, ids), g.weight(scales), g.weight(zeros))
    rows = g.op("GatherBlockQuantized", *inputs, bits=4, block_size=block, gather_axis=0, quantize_axis=1)
    return g.cast(rows, np.float32)


def standard_int8_lookup(g: GraphBuilder, table: Array, ids: str) -> str:
    """The same for OpenVINO, which would move DequantizeLinear before the Gather and hold the table as float."""

    def dequantized(codes: str, scale: str) -> str:
        return g.op("Mul", g.cast(codes, np.float32), g.op("Unsqueeze", scale, g.constant([1], np.int64)))

    return _int8_lookup(g, table, ids, dequantized)


def _int8_lookup(g: GraphBuilder, table: Array, ids: str, dequantized: Callable[[str, str], str]) -> str:
    flat = _flat(g, ids)
    if compact := packed(table):
        return compact_lookup(g, compact, flat)
    codes, scale = (g.op("Gather", g.weight(array), flat) for array in quantize_rows(table))
    return dequantized(codes, scale)


def _flat(g: GraphBuilder, ids: str) -> str:
    return g.op("Reshape", ids, g.constant([-1], np.int64))
