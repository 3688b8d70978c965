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
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..compiler.isa import InstructionSet

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_F16, _F32 = ir.HalfType(), ir.FloatType()
_ADDRESS = types.intp
_CACHE_LINE_BYTES = 64
_Product = tuple[ir.VectorType, Callable[[Any, Any, Any, Any], Any]]  # totals, and (b, totals, query, document) to them
_Sums = dict[tuple[int, int], Any]  # the totals of each document token and panel


def float_tile(isa: InstructionSet, height: int, width: int) -> Any:
    """Make tile(query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride) for float32.

    All arrays are addresses, strides are in bytes. query: `width` panels `query_stride` apart, each (steps, lanes)
    units of four bytes. rows: `height` rows, row_bytes apart, of `steps` units. best (width, lanes) float32 is updated
    with the maximum; products that are NaN are left out. bias and scales are for integers only. ahead: memory that is
    needed next, of which each step prefetches a part, `stride` bytes after the one before.
    """
    vector = ir.VectorType(_F32, isa.lanes)

    def start(b: Any, bias: Any, panel: int) -> Any:
        return ir.Constant(vector, [0.0] * isa.lanes)

    def finish(b: Any, total: Any, scale: Any) -> Any:
        return total

    return _tile(isa, height, width, _fma(isa), start, finish)


def integer_tile(isa: InstructionSet, height: int, width: int) -> Any:
    """Make a float_tile for codes: totals start at bias (width, lanes) int32 and are multiplied by scales (height,)."""
    floats = ir.VectorType(_F32, isa.lanes)
    totals = floats if isa.codes == "floats" else ir.VectorType(_I32, isa.lanes)

    def start(b: Any, bias: Any, panel: int) -> Any:
        if isa.codes != "shifted bytes":
            return ir.Constant(totals, [0] * isa.lanes)
        return _load(b, _offset(b, bias, panel * isa.lanes * 4), totals)

    def finish(b: Any, total: Any, scale: Any) -> Any:
        if totals != floats:
            total = b.sitofp(total, floats)
        return b.fmul(total, _broadcast(b, _load(b, scale, _F32), isa.lanes))

    product = {"floats": _fma, "shorts": _pairs}.get(isa.codes, _quads)
    return _tile(isa, height, width, product(isa), start, finish)


def _fma(isa: InstructionSet) -> _Product:
    vector = ir.VectorType(_F32, isa.lanes)
    return vector, lambda b, total, query, document: _call(
        b, f"llvm.fma.v{isa.lanes}f32", vector, [query, document, total]
    )


def _pairs(isa: InstructionSet) -> _Product:
    vector, halves = ir.VectorType(_I32, isa.lanes), ir.VectorType(_I16, 2 * isa.lanes)

    def product(b: Any, total: Any, query: Any, document: Any) -> Any:
        return b.add(total, _call(b, isa.product, vector, [b.bitcast(x, halves) for x in (query, document)]))

    return vector, product


def _quads(isa: InstructionSet) -> _Product:
    vector, octets = ir.VectorType(_I32, isa.lanes), ir.VectorType(_I8, 4 * isa.lanes)

    def product(b: Any, total: Any, query: Any, document: Any) -> Any:
        if isa.codes == "bytes":
            return _call(b, isa.product, vector, [total, *(b.bitcast(x, octets) for x in (query, document))])
        shifted = b.xor(document, ir.Constant(vector, [0x80808080] * isa.lanes))
        return _call(b, isa.product, vector, [total, shifted, query])

    return vector, product


def _tile(isa: InstructionSet, height: int, width: int, product: _Product, start: Any, finish: Any) -> Any:
    vector, multiply = product
    lane_bytes = isa.lanes * 4
    cells = [(i, j) for i in range(height) for j in range(width)]

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride = args

        def advance(sums: _Sums, step: Any, count: int) -> _Sums:
            """Return the sums after `count` steps."""
            sums = dict(sums)
            along = b.add(rows, b.mul(step, ir.Constant(_I64, 4)))
            tokens = [b.add(along, _times(b, row_bytes, i)) for i in range(height)]
            spread = (_spread_elements if isa.by_element else _spread_loads)(b, tokens, vector, count)
            across = b.add(query, b.mul(step, ir.Constant(_I64, lane_bytes)))
            for u in range(count):
                here = _offset(b, across, u * lane_bytes)
                panels = [_load(b, b.add(here, _times(b, query_stride, j)), vector) for j in range(width)]
                for i in range(height):
                    token = spread(i, u)
                    for j in range(width):
                        sums[i, j] = multiply(b, sums[i, j], panels[j], token)
                if u % max(1, _CACHE_LINE_BYTES // (4 * height)) == 0:
                    _prefetch(b, b.add(ahead, b.mul(_offset(b, step, u), stride)))
            return sums

        starts = [start(b, bias, j) for j in range(width)]
        sums = {(i, j): starts[j] for i, j in cells}
        done = ir.Constant(_I64, 0)
        if isa.steps > 1:
            whole = b.and_(steps, ir.Constant(_I64, -isa.steps))
            sums, done = _for(b, sums, done, whole, isa.steps, advance), whole
        sums = _for(b, sums, done, steps, 1, advance)

        for j in range(width):
            address = _offset(b, best, j * lane_bytes)
            highest = _load(b, address, ir.VectorType(_F32, isa.lanes))
            for i in range(height):
                score = finish(b, sums[i, j], _offset(b, scales, 4 * i))
                highest = b.select(b.fcmp_ordered(">", score, highest), score, highest)
            b.store(highest, b.inttoptr(address, highest.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return _intrinsic(_apart(codegen, isa.features) if isa.features else codegen, 10)


def _spread_loads(b: Any, tokens: list[Any], vector: Any, count: int) -> Any:
    """Make spread(i, step), which loads four bytes of token i into all lanes."""
    return lambda i, u: _broadcast(b, _load(b, _offset(b, tokens[i], 4 * u), vector.element), vector.count)


def _spread_elements(b: Any, tokens: list[Any], vector: Any, count: int) -> Any:
    """Load all steps of each token first: LLVM makes a product by element of a register of what is spread."""
    units = [_load(b, token, ir.VectorType(vector.element, count)) for token in tokens]
    return lambda i, u: _broadcast(b, units[i], vector.count, u)


def _for(b: Any, sums: _Sums, first: Any, last: Any, count: int, advance: Any) -> _Sums:
    """Return the sums after advance(sums, step, count) for each step of range(first, last, count)."""
    before, head = b.block, b.append_basic_block("head")
    body, after = b.append_basic_block("body"), b.append_basic_block("after")
    b.branch(head)

    b.position_at_end(head)
    step = b.phi(_I64)
    totals = {cell: b.phi(total.type) for cell, total in sums.items()}
    b.cbranch(b.icmp_signed("<", step, last), body, after)

    b.position_at_end(body)
    advanced, following = advance(totals, step, count), _offset(b, step, count)
    step.add_incoming(first, before)
    step.add_incoming(following, body)
    for cell, total in totals.items():
        total.add_incoming(sums[cell], before)
        total.add_incoming(advanced[cell], body)
    b.branch(head)

    b.position_at_end(after)
    return totals


def _apart(codegen: Any, features: str) -> Any:
    """Put a tile into a function of its own, which is compiled for `features` whatever numba compiles the rest for.

    LLVM ends the process where it meets an instruction of a feature that it was not told of.
    """

    def call(context: Any, b: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_I64] * len(args))
        function = ir.Function(b.module, kind, b.module.get_unique_name("tile"))
        function.linkage = "internal"
        function.attributes.add("noinline")
        set.add(function.attributes, f'"target-features"="{features}"')  # llvmlite's add() knows a few attributes only
        inside = ir.IRBuilder(function.append_basic_block())
        codegen(context, inside, signature, function.args)
        inside.ret_void()
        b.call(function, args)
        return context.get_dummy_value()

    return call


def half_to_float(count: int) -> Any:
    """Make convert(source, target): `count` float16 to float32."""
    return _converter(count, ir.VectorType(_F16, count), lambda b, x: b.fpext(x, ir.VectorType(_F32, count)))


def byte_to_code(count: int, isa: InstructionSet) -> Any:
    """Make convert(source, target): `count` int8 to codes as the product takes them."""
    source, target = ir.VectorType(_I8, count), _codes(count, isa)
    if isa.codes == "floats":
        return _converter(count, source, lambda b, x: b.sitofp(x, target))
    return _converter(count, source, lambda b, x: b.sext(x, target))


def bit_to_code(count: int, isa: InstructionSet) -> Any:
    """Make convert(source, target): `count` bits, lowest first, to codes, 1 for a set bit, else -1."""
    ones, minus = (ir.Constant(_codes(count, isa), [value] * count) for value in (1, -1))
    return _converter(
        count, ir.IntType(count), lambda b, x: b.select(b.bitcast(x, ir.VectorType(_I1, count)), ones, minus)
    )


def _codes(count: int, isa: InstructionSet) -> Any:
    return ir.VectorType(_F32 if isa.codes == "floats" else ir.IntType(8 * isa.code_bytes), count)


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


def _broadcast(b: Any, units: Any, lanes: int, at: int = 0) -> Any:
    """Put unit `at` of a vector, or a single value, into all lanes."""
    if not isinstance(units.type, ir.VectorType):
        first = ir.Constant(ir.VectorType(units.type, 1), ir.Undefined)
        units = b.insert_element(first, units, ir.Constant(_I32, 0))
    where = ir.Constant(ir.VectorType(_I32, lanes), [at] * lanes)
    return b.shuffle_vector(units, ir.Constant(units.type, ir.Undefined), where)


def _call(b: Any, name: str, result: Any, args: list[Any]) -> Any:
    return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(result, [a.type for a in args]), name), args)


def _prefetch(b: Any, address: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
    read, into_l1, data = (ir.Constant(_I32, value) for value in (0, 3, 1))
    b.call(function, [b.inttoptr(address, _I8.as_pointer()), read, into_l1, data])
