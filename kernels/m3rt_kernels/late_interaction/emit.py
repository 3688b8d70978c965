"""What the tiles and converters of MaxSim are written with: LLVM IR of loads, broadcasts, loops, and intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, F32 = ir.HalfType(), ir.FloatType()
_ADDRESS = types.intp
Sums = dict[tuple[int, int], Any]  # the totals of each document token and panel


def loop(b: Any, sums: Sums, first: Any, last: Any, count: int, advance: Any) -> Sums:
    """Return the sums after advance(sums, step, count) for each step of range(first, last, count)."""
    before, head = b.block, b.append_basic_block("head")
    body, after = b.append_basic_block("body"), b.append_basic_block("after")
    b.branch(head)

    b.position_at_end(head)
    step = b.phi(I64)
    totals = {cell: b.phi(total.type) for cell, total in sums.items()}
    b.cbranch(b.icmp_signed("<", step, last), body, after)

    b.position_at_end(body)
    advanced, following = advance(totals, step, count), offset(b, step, count)
    step.add_incoming(first, before)
    step.add_incoming(following, body)
    for cell, total in totals.items():
        total.add_incoming(sums[cell], before)
        total.add_incoming(advanced[cell], body)
    b.branch(head)

    b.position_at_end(after)
    return totals


def apart(codegen: Any, features: str) -> Any:
    """Put a tile into a function of its own, which is compiled for `features` whatever numba compiles the rest for.

    LLVM ends the process where it meets an instruction of a feature that it was not told of.
    """

    def enter(context: Any, b: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * len(args))
        function = ir.Function(b.module, kind, b.module.get_unique_name("tile"))
        function.linkage = "internal"
        function.attributes.add("noinline")
        set.add(function.attributes, f'"target-features"="{features}"')  # llvmlite's add() knows a few attributes only
        inside = ir.IRBuilder(function.append_basic_block())
        codegen(context, inside, signature, function.args)
        inside.ret_void()
        b.call(function, args)
        return context.get_dummy_value()

    return enter


def as_intrinsic(codegen: Any, count: int) -> Any:
    """Make a function for kernels to call, of the `count` addresses and sizes that a converter (2) or a tile takes."""
    signature = types.void(*[_ADDRESS] * count)
    if count == 2:
        return intrinsic(lambda context, source, target: (signature, codegen))
    return intrinsic(
        lambda context, query, query_stride, rows, row_bytes, steps, bias, scales, best, ahead, stride: (
            signature,
            codegen,
        )
    )


def load(b: Any, address: Any, kind: Any) -> Any:
    return b.load(b.inttoptr(address, kind.as_pointer()), align=1)


def offset(b: Any, address: Any, bytes_: int) -> Any:
    return b.add(address, ir.Constant(I64, bytes_))


def times(b: Any, value: Any, factor: int) -> Any:
    return b.mul(value, ir.Constant(I64, factor))


def broadcast(b: Any, units: Any, lanes: int, at: int = 0) -> Any:
    """Put unit `at` of a vector, or a single value, into all lanes."""
    if not isinstance(units.type, ir.VectorType):
        first = ir.Constant(ir.VectorType(units.type, 1), ir.Undefined)
        units = b.insert_element(first, units, ir.Constant(I32, 0))
    where = ir.Constant(ir.VectorType(I32, lanes), [at] * lanes)
    return b.shuffle_vector(units, ir.Constant(units.type, ir.Undefined), where)


def call(b: Any, name: str, result: Any, args: list[Any]) -> Any:
    return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(result, [a.type for a in args]), name), args)


def prefetch(b: Any, address: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
    read, into_l1, data = (ir.Constant(I32, value) for value in (0, 3, 1))
    b.call(function, [b.inttoptr(address, I8.as_pointer()), read, into_l1, data])
