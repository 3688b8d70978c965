"""The instruction sets that MaxSim is compiled for, and the one that this process compiles for."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Codes = Literal["shifted bytes", "bytes", "shorts", "floats"]


class SettingError(RuntimeError):
    """M3RT_ISA cannot be honoured. It is no ValueError, which callers take for damaged arrays."""


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """A row of the table: the features that a processor needs, and the shape of a tile that fills its registers."""

    name: str
    needs: frozenset[str]  # LLVM's feature names
    lanes: int  # 32-bit numbers in a vector
    heights: tuple[int, int, int]  # document tokens in a tile, tallest first
    product: str  # LLVM intrinsic of the integer product; none for floats
    codes: Codes  # how the product takes int8 codes of documents; bytes are shifted by 128 where it wants them unsigned
    steps: int = 1  # of four bytes that a turn of the loop has
    by_element: bool = False  # a turn loads a document's token at once, and multiplies by its units
    features: str = ""  # of tiles, in a function of their own, where LLVM does not know that the processor has them
    base: str = "x86-64"  # LLVM's name of the least processor of this kind

    @property
    def code_bytes(self) -> int:
        """Return the size of a code as the product takes it."""
        return {"shorts": 2, "floats": 4}.get(self.codes, 1)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a process compile for this set, even on a processor with a better one."""
        return {"NUMBA_CPU_NAME": self.base, "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in sorted(self.needs))}


_FLOAT = {"avx2", "fma", "f16c"}
_DOT = "llvm.aarch64.neon.sdot.v4i32.v16i8"
TABLE = (
    InstructionSet(
        "avx512-vnni", frozenset(_FLOAT | {"avx512f", "avx512bw", "avx512vnni"}), 16, (12, 4, 1),
        "llvm.x86.avx512.vpdpbusd.512", "shifted bytes",
    ),
    InstructionSet(
        "avx512", frozenset(_FLOAT | {"avx512f", "avx512bw"}), 16, (12, 4, 1), "llvm.x86.avx512.pmaddw.d.512", "shorts"
    ),
    InstructionSet(
        "avx-vnni", frozenset(_FLOAT | {"avxvnni"}), 8, (6, 4, 1), "llvm.x86.avx512.vpdpbusd.256", "shifted bytes", 4
    ),
    InstructionSet("avx2", frozenset(_FLOAT), 8, (6, 4, 1), "llvm.x86.avx2.pmadd.wd", "shorts", 4),
    InstructionSet(
        "neon-dotprod", frozenset({"neon", "dotprod"}), 4, (8, 4, 1), _DOT, "bytes", 4, True, "+neon,+dotprod",
        "generic",
    ),
    InstructionSet("neon", frozenset({"neon"}), 4, (8, 4, 1), "", "floats", 4, True, "", "generic"),
)  # fmt: skip


@cache
def instruction_set() -> InstructionSet | None:
    """Return the fastest row that numba compiles for here, None where only the numpy twins can run.

    numba decides which features the processor has, so M3RT_ISA chooses, or NUMBA_CPU_NAME and NUMBA_CPU_FEATURES. They
    are also part of the key of numba's cache: machines that share a file system do not share code.
    """
    from numba.core import config
    from numba.core.registry import cpu_target

    choose()

    features = cpu_target.target_context.codegen().magic_tuple()[2]
    has = _baseline() | {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    if config.CPU_FEATURES is None:  # nobody asks for less than the processor has
        has |= _kernel_features()
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

    return {name for name, there in get_host_cpu_features().items() if there} | _baseline() | _kernel_features()


def _baseline() -> set[str]:
    """Return the features that each processor of this machine's kind has, which LLVM need not list."""
    return {"neon"} if _is_arm() else set()


@cache
def _kernel_features() -> frozenset[str]:
    """Return the features that Linux names and LLVM does not: it has none of ARM's dot products in its list."""
    names: set[str] = set()
    if _is_arm():
        with suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as file:
            listed = [set(line.partition(":")[2].split()) for line in file if line.startswith("Features")]
            names = set.intersection(*listed) if listed else set()  # a thread may run on any core
    return frozenset({"dotprod"} if "asimddp" in names else ())


def _is_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")
