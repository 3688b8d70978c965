"""Compiled MaxSim under threads, a hostile allocator, and a cache that other processes filled: scores stay numpy's."""

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")
from m3rt_kernels.isa import TABLE, host_features

STRESS = Path(__file__).parents[1] / "benchmarks" / "kernels_stress.py"
STORAGES = ("float32", "float16", "int8", "bits")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_sixteen_threads_score_right_while_freed_memory_is_overwritten(row: Any) -> None:
    if not host_features() >= row.needs:
        pytest.skip(f"this processor has no {row.name}")
    sys.path.insert(0, str(STRESS.parent))
    try:
        from kernels_stress import run
    finally:
        sys.path.remove(str(STRESS.parent))
    assert run(row, threads=16, calls=40) == {"set": row.name, "wrong": dict.fromkeys(STORAGES, 0)}


# Scores the storages in each order that is given, a forked child for each: it has only what that order loads.
IN_ORDER = f"""
import os, sys
sys.path.insert(0, {str(STRESS.parent)!r})
import numba
import numpy as np
from kernels_stress import storages, twin
calls = storages()
for order in sys.argv[1:]:
    if not (child := os.fork()):
        worst = max(float(np.abs(calls[name]() - twin(calls[name])).max()) for name in order.split(","))
        os._exit(0 if worst < 1e-6 else 1)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        print(order, status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kernels_that_other_processes_compiled_are_not_mixed_up_in_any_order(tmp_path: Path) -> None:
    def run(*orders: str) -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", IN_ORDER, *orders], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    for name in STORAGES:  # each compiled by a process of its own
        assert run(name) == ""
    assert run(*map(",".join, permutations(STORAGES))) == ""


def test_no_two_inner_functions_may_share_a_name() -> None:
    from m3rt_kernels.jit import inner

    inner("a_name_of_this_test")(lambda x: x)
    with pytest.raises(ValueError, match="two compiled functions are named 'a_name_of_this_test'"):
        inner("a_name_of_this_test")
