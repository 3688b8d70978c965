"""The instruction sets that MaxSim is compiled for, and the one that this process compiles for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache


class SettingError(RuntimeError):
    """M3RT_ISA cannot be honoured. It is no ValueError, which callers take for damaged arrays."""


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """A row of the table: the features that a processor needs, and the shape of a tile that fills its registers."""

    name: str
    needs: frozenset[str]  # LLVM's feature names
    lanes: int  # 32-bit numbers in a vector
    heights: tuple[int, int, int]  # document tokens in a tile, tallest first
    product: str  # LLVM intrinsic of the integer product
    bytes_of_code: int  # the product takes documents as bytes, or as 16-bit numbers

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a process compile for this set, even on a processor with a better one."""
        return {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in sorted(self.needs))}


_FLOAT = {"avx2", "fma", "f16c"}
TABLE = (
    InstructionSet(
        "avx512-vnni", frozenset(_FLOAT | {"avx512f", "avx512bw", "avx512vnni"}), 16, (12, 4, 1),
        "llvm.x86.avx512.vpdpbusd.512", 1,
    ),
    InstructionSet(
        "avx512", frozenset(_FLOAT | {"avx512f", "avx512bw"}), 16, (12, 4, 1), "llvm.x86.avx512.pmaddw.d.512", 2
    ),
    InstructionSet("avx-vnni", frozenset(_FLOAT | {"avxvnni"}), 8, (4, 2, 1), "llvm.x86.avx512.vpdpbusd.256", 1),
    InstructionSet("avx2", frozenset(_FLOAT), 8, (4, 2, 1), "llvm.x86.avx2.pmadd.wd", 2),
)  # fmt: skip


@cache
def instruction_set() -> InstructionSet | None:
    """Return the fastest row that numba compiles for here, None where only the numpy twins can run.

    numba decides which features the processor has, so M3RT_ISA chooses, or NUMBA_CPU_NAME and NUMBA_CPU_FEATURES. They
    are also part of the key of numba's cache: machines that share a file system do not share code.
    """
    from numba.core.registry import cpu_target

    choose()

    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    if not triple.startswith(("x86_64", "i686")):
        return None
    has = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    return next((row for row in TABLE if row.needs <= has), None)


@cache
def choose() -> None:
    """Make numba compile for the set that M3RT_ISA names, if it names one, in the whole process.

    Raises SettingError for a name that is not in the table, a set that the processor lacks, and when it is too late.
    """
    name = os.environ.get("M3RT_ISA")
    if not name:
        return
    row = next((row for row in TABLE if row.name == name), None)
    able = [row.name for row in TABLE if row.needs <= host_features()]
    if row is None or name not in able:
        raise SettingError(
            f"M3RT_ISA is {name!r:.40}, expected what this processor has: {', '.join(able) or 'none of ours'}"
        )
    from numba.core import config
    from numba.core.registry import cpu_target

    if "_toplevel_target_context" in vars(cpu_target):
        features = cpu_target.target_context.codegen().magic_tuple()[2]
        if features != row.environment["NUMBA_CPU_FEATURES"]:
            raise SettingError(
                f"M3RT_ISA is {name}, but numba has compiled for another set; set it in the environment first"
            )
    os.environ.update(row.environment)  # numba reads its config again when one of its variables changes
    config.reload_config()


def host_features() -> set[str]:
    """Return the features that the processor has, by LLVM's names, whatever NUMBA_CPU_FEATURES says."""
    from llvmlite.binding import get_host_cpu_features

    return {name for name, there in get_host_cpu_features().items() if there}
