"""A tile of MaxSim in registers: document tokens x query tokens, written as LLVM IR through numba's intrinsics.

Query tokens lie across the lanes of a vector and a document's token is broadcast four bytes at a time, so that lanes
are never added to each other: after the last step the tile holds every dot product of its tokens. The maximum over the
document's tokens is taken in registers too; only the best match so far of each query token is written to memory.

The step of four bytes is four codes (VNNI: unsigned x signed bytes, so documents are shifted by 128 and the
accumulators start at -128 times the sum of the query's codes), two 16-bit codes (pmaddwd), or one float32.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..compiler.isa import InstructionSet

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_F16, _F32 = ir.HalfType(), ir.FloatType()
_ADDRESS = types.intp


def float_tile(isa: InstructionSet, height: int, width: int) -> Any:
    """Make tile(query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride) for float32.

    All arrays are addresses, strides are in bytes. query: `width` panels `query_stride` apart, each (steps, lanes)
    units of four bytes. rows: `height` rows, row_bytes apart, of `steps` units. best (width, lanes) float32 is updated
    with the maximum; products that are NaN are left out. bias and scales are for integers only. ahead: memory that is
    needed next, of which each step prefetches a part, `stride` bytes after the one before.
    """
    vector = ir.VectorType(_F32, isa.lanes)
    fma = f"llvm.fma.v{isa.lanes}f32"

    def load(b: Any, address: Any) -> Any:
        return _load(b, address, _F32)

    def product(b: Any, total: Any, query: Any, document: Any) -> Any:
        return _call(b, fma, vector, [query, document, total])

    def start(b: Any, bias: Any, panel: int) -> Any:
        return ir.Constant(vector, [0.0] * isa.lanes)

    def finish(b: Any, total: Any, scale: Any) -> Any:
        return total

    return _tile(isa, height, width, vector, load, product, start, finish)


def integer_tile(isa: InstructionSet, height: int, width: int) -> Any:
    """Make a float_tile for codes: totals start at bias (width, lanes) int32 and are multiplied by scales (height,)."""
    vector = ir.VectorType(_I32, isa.lanes)
    halves = ir.VectorType(_I16, 2 * isa.lanes)

    def load(b: Any, address: Any) -> Any:
        codes = _load(b, address, _I32)
        return codes if isa.bytes_of_code == 2 else b.xor(codes, ir.Constant(_I32, 0x80808080))

    def product(b: Any, total: Any, query: Any, document: Any) -> Any:
        if isa.bytes_of_code == 1:
            return _call(b, isa.product, vector, [total, document, query])
        pairs = [b.bitcast(x, halves) for x in (query, document)]
        return b.add(total, _call(b, isa.product, vector, pairs))

    def start(b: Any, bias: Any, panel: int) -> Any:
        return _load(b, _offset(b, bias, panel * isa.lanes * 4), vector)

    def finish(b: Any, total: Any, scale: Any) -> Any:
        floats = b.sitofp(total, ir.VectorType(_F32, isa.lanes))
        return b.fmul(floats, _broadcast(b, _load(b, scale, _F32), isa.lanes))

    return _tile(isa, height, width, vector, load, product, start, finish)


def _tile(
    isa: InstructionSet, height: int, width: int, vector: Any, load: Any, product: Any, start: Any, finish: Any
) -> Any:
    lane_bytes = isa.lanes * 4
    cells = [(i, j) for i in range(height) for j in range(width)]

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride = args
        before, loop, after = b.block, b.append_basic_block("step"), b.append_basic_block("maximum")
        starts = [start(b, bias, j) for j in range(width)]
        b.branch(loop)

        b.position_at_end(loop)
        step = b.phi(_I64)
        step.add_incoming(ir.Constant(_I64, 0), before)
        totals = {cell: b.phi(vector) for cell in cells}
        for (_, j), total in totals.items():
            total.add_incoming(starts[j], before)
        across = b.add(query, b.mul(step, ir.Constant(_I64, lane_bytes)))
        along = b.add(rows, b.mul(step, ir.Constant(_I64, 4)))
        panels = [_load(b, b.add(across, _times(b, query_stride, j)), vector) for j in range(width)]
        sums = {}
        for i in range(height):
            token = _broadcast(b, load(b, b.add(along, _times(b, row_bytes, i))), isa.lanes)
            for j in range(width):
                sums[i, j] = product(b, totals[i, j], panels[j], token)
        _prefetch(b, b.add(ahead, b.mul(step, stride)))
        following = b.add(step, ir.Constant(_I64, 1))
        step.add_incoming(following, loop)
        for cell, total in totals.items():
            total.add_incoming(sums[cell], loop)
        b.cbranch(b.icmp_signed("<", following, steps), loop, after)

        b.position_at_end(after)
        for j in range(width):
            address = _offset(b, best, j * lane_bytes)
            highest = _load(b, address, ir.VectorType(_F32, isa.lanes))
            for i in range(height):
                score = finish(b, sums[i, j], _offset(b, scales, 4 * i))
                highest = b.select(b.fcmp_ordered(">", score, highest), score, highest)
            b.store(highest, b.inttoptr(address, highest.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return _intrinsic(codegen, 10)


def half_to_float(count: int) -> Any:
    """Make convert(source, target): `count` float16 to float32."""
    return _converter(count, ir.VectorType(_F16, count), lambda b, x: b.fpext(x, ir.VectorType(_F32, count)))


def byte_to_short(count: int) -> Any:
    """Make convert(source, target): `count` int8 to int16."""
    return _converter(count, ir.VectorType(_I8, count), lambda b, x: b.sext(x, ir.VectorType(_I16, count)))


def bit_to_code(count: int, size: int) -> Any:
    """Make convert(source, target): `count` bits, lowest first, to codes of `size` bytes, 1 for a set bit, else -1."""
    codes = ir.VectorType(ir.IntType(8 * size), count)
    ones, minus = (ir.Constant(codes, [value] * count) for value in (1, -1))
    return _converter(
        count, ir.IntType(count), lambda b, x: b.select(b.bitcast(x, ir.VectorType(_I1, count)), ones, minus)
    )


def _converter(count: int, source_type: Any, convert: Any) -> Any:
    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        source, target = args
        result = convert(b, _load(b, source, source_type))
        b.store(result, b.inttoptr(target, result.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return _intrinsic(codegen, 2)


def _intrinsic(codegen: Any, count: int) -> Any:
    signature = types.void(*[_ADDRESS] * count)
    if count == 2:
        return intrinsic(lambda context, source, target: (signature, codegen))
    return intrinsic(
        lambda context, query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride: (
            signature,
            codegen,
        )
    )


def _load(b: Any, address: Any, kind: Any) -> Any:
    return b.load(b.inttoptr(address, kind.as_pointer()), align=1)


def _offset(b: Any, address: Any, bytes_: int) -> Any:
    return b.add(address, ir.Constant(_I64, bytes_))


def _times(b: Any, value: Any, factor: int) -> Any:
    return b.mul(value, ir.Constant(_I64, factor))


def _broadcast(b: Any, value: Any, lanes: int) -> Any:
    kind = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = b.insert_element(undefined, value, ir.Constant(_I32, 0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def _call(b: Any, name: str, result: Any, args: list[Any]) -> Any:
    return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(result, [a.type for a in args]), name), args)


def _prefetch(b: Any, address: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
    read, into_l1, data = (ir.Constant(_I32, value) for value in (0, 3, 1))
    b.call(function, [b.inttoptr(address, _I8.as_pointer()), read, into_l1, data])
