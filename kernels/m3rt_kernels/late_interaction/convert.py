"""Conversion of documents' rows to the numbers that tiles multiply, written as LLVM IR."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..compiler.isa import InstructionSet
from .emit import F16, F32, I1, I8, as_intrinsic, load


def half_to_float(count: int) -> Any:
    """Make convert(source, target): `count` float16 to float32."""
    return _converter(count, ir.VectorType(F16, count), lambda b, x: b.fpext(x, ir.VectorType(F32, count)))


def byte_to_code(count: int, isa: InstructionSet) -> Any:
    """Make convert(source, target): `count` int8 to codes as the product takes them."""
    source, target = ir.VectorType(I8, count), _codes(count, isa)
    if isa.codes == "floats":
        return _converter(count, source, lambda b, x: b.sitofp(x, target))
    return _converter(count, source, lambda b, x: b.sext(x, target))


def bit_to_code(count: int, isa: InstructionSet) -> Any:
    """Make convert(source, target): `count` bits, lowest first, to codes, 1 for a set bit, else -1."""
    ones, minus = (ir.Constant(_codes(count, isa), [value] * count) for value in (1, -1))
    return _converter(
        count, ir.IntType(count), lambda b, x: b.select(b.bitcast(x, ir.VectorType(I1, count)), ones, minus)
    )


def _codes(count: int, isa: InstructionSet) -> Any:
    return ir.VectorType(F32 if isa.codes == "floats" else ir.IntType(8 * isa.code_bytes), count)


def _converter(count: int, source_type: Any, convert: Any) -> Any:
    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        source, target = args
        result = convert(b, load(b, source, source_type))
        b.store(result, b.inttoptr(target, result.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return as_intrinsic(codegen, 2)
