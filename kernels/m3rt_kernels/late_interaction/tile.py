"""A tile of MaxSim in registers: document tokens x query tokens, written as LLVM IR through numba's intrinsics.

Query tokens lie across the lanes of a vector and a document's token is broadcast four bytes at a time, so that lanes
are never added to each other: after the last step the tile holds every dot product of its tokens. The maximum over the
document's tokens is taken in registers too; only the best match so far of each query token is written to memory.

The step of four bytes is four codes (bytes: ARM multiplies signed ones; x86 signed by unsigned ones, so documents are
shifted by 128 and the accumulators start at -128 times the sum of the query's codes), two 16-bit codes (pmaddwd), or
one float32, which a code is where no product of integers is fast: exact while a sum is below 2 ** 24.

x86 broadcasts four bytes as it loads them. ARM does not, but multiplies by one of the four units of a register: there
sixteen bytes of a document's token are loaded for four steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from ..compiler.isa import InstructionSet
from .emit import (
    F32,
    I8,
    I16,
    I32,
    I64,
    Sums,
    apart,
    as_intrinsic,
    broadcast,
    call,
    load,
    loop,
    offset,
    prefetch,
    times,
)

_CACHE_LINE_BYTES = 64


class _Product(NamedTuple):
    """How totals grow: their type, multiply(b, total, query, document), and the steps that a turn of the loop has."""

    totals: Any
    multiply: Callable[[Any, Any, Any, Any], Any]
    steps: int


def float_tile(isa: InstructionSet, height: int, width: int) -> Any:
    """Make tile(query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride) for float32.

    All arrays are addresses, strides are in bytes. query: `width` panels `query_stride` apart, each (steps, lanes)
    units of four bytes. rows: `height` rows, row_bytes apart, of `steps` units. best (width, lanes) float32 is updated
    with the maximum; products that are NaN are left out. bias and scales are for integers only. ahead: memory that is
    needed next, of which each step prefetches a part, `stride` bytes after the one before.
    """
    vector = ir.VectorType(F32, isa.lanes)

    def start(b: Any, bias: Any, panel: int) -> Any:
        return ir.Constant(vector, [0.0] * isa.lanes)

    def finish(b: Any, total: Any, scale: Any) -> Any:
        return total

    return _tile(isa, height, width, _fma(isa), start, finish)


def integer_tile(isa: InstructionSet, height: int, width: int) -> Any:
    """Make a float_tile for codes: totals start at bias (width, lanes) int32 and are multiplied by scales (height,)."""
    floats = ir.VectorType(F32, isa.lanes)
    totals = floats if isa.codes == "floats" else ir.VectorType(I32, isa.lanes)

    def start(b: Any, bias: Any, panel: int) -> Any:
        if isa.codes != "shifted bytes":
            return ir.Constant(totals, [0] * isa.lanes)
        return load(b, offset(b, bias, panel * isa.lanes * 4), totals)

    def finish(b: Any, total: Any, scale: Any) -> Any:
        if totals != floats:
            total = b.sitofp(total, floats)
        return b.fmul(total, broadcast(b, load(b, scale, F32), isa.lanes))

    product = {"floats": _fma, "shorts": _pairs}.get(isa.codes, _quads)
    return _tile(isa, height, width, product(isa), start, finish)


def _fma(isa: InstructionSet) -> _Product:
    vector = ir.VectorType(F32, isa.lanes)

    def multiply(b: Any, total: Any, query: Any, document: Any) -> Any:
        return call(b, f"llvm.fma.v{isa.lanes}f32", vector, [query, document, total])

    return _Product(vector, multiply, isa.steps)


def _pairs(isa: InstructionSet) -> _Product:
    vector, halves = ir.VectorType(I32, isa.lanes), ir.VectorType(I16, 2 * isa.lanes)

    def multiply(b: Any, total: Any, query: Any, document: Any) -> Any:
        return b.add(total, call(b, isa.product, vector, [b.bitcast(x, halves) for x in (query, document)]))

    # Of more steps LLVM would add the products to each other first, and there are no registers to keep them in.
    return _Product(vector, multiply, 1)


def _quads(isa: InstructionSet) -> _Product:
    vector, octets = ir.VectorType(I32, isa.lanes), ir.VectorType(I8, 4 * isa.lanes)

    def multiply(b: Any, total: Any, query: Any, document: Any) -> Any:
        if isa.codes == "bytes":
            return call(b, isa.product, vector, [total, *(b.bitcast(x, octets) for x in (query, document))])
        shifted = b.xor(document, ir.Constant(vector, [0x80808080] * isa.lanes))
        return call(b, isa.product, vector, [total, shifted, query])

    return _Product(vector, multiply, isa.steps)


def _tile(isa: InstructionSet, height: int, width: int, product: _Product, start: Any, finish: Any) -> Any:
    vector = product.totals
    lane_bytes = isa.lanes * 4
    cells = [(i, j) for i in range(height) for j in range(width)]

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride = args

        def advance(sums: Sums, step: Any, count: int) -> Sums:
            """Return the sums after `count` steps."""
            sums = dict(sums)
            along = b.add(rows, b.mul(step, ir.Constant(I64, 4)))
            tokens = [b.add(along, times(b, row_bytes, i)) for i in range(height)]
            spread = (_spread_elements if isa.by_element else _spread_loads)(b, tokens, vector, count)
            across = b.add(query, b.mul(step, ir.Constant(I64, lane_bytes)))
            for u in range(count):
                here = offset(b, across, u * lane_bytes)
                panels = [load(b, b.add(here, times(b, query_stride, j)), vector) for j in range(width)]
                for i in range(height):
                    token = spread(i, u)
                    for j in range(width):
                        sums[i, j] = product.multiply(b, sums[i, j], panels[j], token)
                if u % max(1, _CACHE_LINE_BYTES // (4 * height)) == 0:
                    prefetch(b, b.add(ahead, b.mul(offset(b, step, u), stride)))
            return sums

        starts = [start(b, bias, j) for j in range(width)]
        sums = {(i, j): starts[j] for i, j in cells}
        done = ir.Constant(I64, 0)
        if product.steps > 1:
            whole = b.and_(steps, ir.Constant(I64, -product.steps))
            sums, done = loop(b, sums, done, whole, product.steps, advance), whole
        sums = loop(b, sums, done, steps, 1, advance)

        for j in range(width):
            address = offset(b, best, j * lane_bytes)
            highest = load(b, address, ir.VectorType(F32, isa.lanes))
            for i in range(height):
                score = finish(b, sums[i, j], offset(b, scales, 4 * i))
                highest = b.select(b.fcmp_ordered(">", score, highest), score, highest)
            b.store(highest, b.inttoptr(address, highest.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return as_intrinsic(apart(codegen, isa.features) if isa.features else codegen, 10)


def _spread_loads(b: Any, tokens: list[Any], vector: Any, count: int) -> Any:
    """Make spread(i, step), which loads four bytes of token i into all lanes."""
    return lambda i, u: broadcast(b, load(b, offset(b, tokens[i], 4 * u), vector.element), vector.count)


def _spread_elements(b: Any, tokens: list[Any], vector: Any, count: int) -> Any:
    """Load all steps of each token first: LLVM makes a product by element of a register of what is spread."""
    units = [load(b, token, ir.VectorType(vector.element, count)) for token in tokens]
    return lambda i, u: broadcast(b, units[i], vector.count, u)
