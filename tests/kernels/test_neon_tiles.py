"""The tiles for ARM, as LLVM compiles them on any machine: products by element of a register, and nothing spilled."""

import re
from typing import Any

import pytest

pytest.importorskip("numba")
from llvmlite import binding, ir
from m3rt_kernels.compiler.isa import TABLE
from m3rt_kernels.late_interaction.emit import I64
from m3rt_kernels.late_interaction.tile import float_tile, integer_tile

ARM = {row.name: row for row in TABLE if row.name.startswith("neon")}


def assembly(tile: Any, processor: str) -> str:
    """Compile a tile alone for an ARM processor of which LLVM is told no features."""
    _, codegen = tile._defn(None, *[None] * 10)
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 10), "alone")
    builder = ir.IRBuilder(function.append_basic_block())
    codegen(_Context(), builder, None, function.args)
    builder.ret_void()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple(module.triple).create_target_machine(cpu=processor, opt=3)
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(parsed, passes)
    return str(machine.emit_assembly(parsed))


class _Context:
    """numba's context, of which a tile asks one thing."""

    def get_dummy_value(self) -> Any:
        return ir.Constant(ir.IntType(8).as_pointer(), None)


@pytest.mark.parametrize("processor", ["generic", "cortex-a76", "neoverse-v1"])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize(("name", "make", "product"), [
    ("neon-dotprod", integer_tile, "sdot"), ("neon-dotprod", float_tile, "fmla"), ("neon", integer_tile, "fmla"),
], ids=["int8 by sdot", "float32", "int8 by fmla"])  # fmt: skip
def test_every_product_of_a_turn_is_by_element_and_nothing_is_spilled(
    name: str, make: Any, product: str, width: int, processor: str
) -> None:
    row = ARM[name]
    for height in row.heights:
        code = assembly(make(row, height, width), processor)
        by_element = re.findall(rf"\b{product}\s+v\d+\.4s, v\d+\.(?:16b|4s), v\d+\.(?:4b|s)\[\d\]", code)
        assert len(by_element) >= row.steps * height * width, f"{height} x {width}"
        assert not re.findall(r"\b(?:str|stp|ldr|ldp)\s+q\d+,.*\[sp", code), f"{height} x {width}"
