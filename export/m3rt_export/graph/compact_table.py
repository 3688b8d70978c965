"""Look-ups in tables that compact/ packed: the graph decodes digits and multiplies products."""

from __future__ import annotations

import numpy as np

from ..compact.digits import Digits, Packed
from ..compact.products import Product
from .builder import GraphBuilder


def compact_lookup(g: GraphBuilder, table: Packed, ids: str) -> str:
    """Rows of a packed table (n, k) for flat ids: (number of ids, k)."""
    runs = [_decoded(g, run, ids) if isinstance(run, Digits) else _multiplied(g, run, ids) for run in table.runs]
    steps = g.op("Concat", *runs, axis=1) if len(runs) > 1 else runs[0]
    return g.op("Mul", steps, g.weight(table.step))


def _decoded(g: GraphBuilder, run: Digits, ids: str) -> str:
    """The columns of a run of digits, in steps: (number of ids, columns)."""
    meaning = run.meaning
    codes = g.cast(g.op("Gather", g.weight(run.codes), ids), np.int32)
    width = run.codes.shape[1] * meaning.shape[1]
    x = g.op("Gather", g.constant(meaning, np.float32), codes)
    x = g.op("Reshape", x, g.constant([-1, width], np.int64))
    if width == run.columns:
        return x
    start, end, axis = (g.constant([n], np.int64) for n in (0, run.columns, 1))
    return g.op("Slice", x, start, end, axis)


def _multiplied(g: GraphBuilder, run: Product, ids: str) -> str:
    """The columns of a product, which are signs: (number of ids, columns)."""
    if run.which is not None:
        ids = g.cast(g.op("Gather", g.weight(run.which), ids), np.int64)
    moved = g.op("Add", ids, g.constant(run.shift, np.int64))
    period = g.constant(len(run.left), np.int64)
    places = (run.left, g.op("Mod", moved, period)), (run.right, g.op("Div", moved, period))
    left, right = (g.cast(g.op("Gather", g.weight(table), place), np.float32) for table, place in places)
    return g.op("Mul", left, right)
