"""Compiled MaxSim under threads, a hostile allocator, and a cache that other processes filled: scores stay numpy's."""

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")
from m3rt_kernels.compiler.isa import TABLE, host_features

ROOT = Path(__file__).parents[2]
STORAGES = ("float32", "float16", "int8", "bits")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_sixteen_threads_score_right_while_freed_memory_is_overwritten(
    row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not host_features() >= row.needs:
        pytest.skip(f"this processor has no {row.name}")
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.kernels.stress import run

    assert run(row, threads=16, calls=40) == {"set": row.name, "wrong": dict.fromkeys(STORAGES, 0)}


# Scores the storages in each order that is given, a forked child for each: it has only what that order loads.
IN_ORDER = f"""
import logging; logging.disable()  # of compilations
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import numba
import numpy as np
from benchmarks.kernels.stress import storages, twin
from m3rt_kernels.compiler import jit
jit._eager = True
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


# Spoils the arrays of an inverted index, one place or one length at a time, and searches what is not refused.
SPOIL = """
import numpy as np
from m3rt_kernels import InvertedIndex
draw = np.random.default_rng(0)
rows = [np.sort(draw.choice(300, 12, replace=False)).astype(np.int32) for _ in range(400)]
values = draw.uniform(0.1, 1, 4800).astype(np.float32)
arrays = InvertedIndex.build(np.arange(0, 4801, 12), np.concatenate(rows), values).arrays()
odd, refused, searched = (-(1 << 40), -1, 0, 1, 399, 400, 1 << 20, (1 << 31) - 1, 1 << 40), 0, 0
for name, array in arrays.items():
    for _ in range(120):
        spoilt = array.copy()
        if draw.random() < 0.15:
            spoilt = spoilt[: draw.integers(0, len(array) + 1)]
        elif spoilt.size:
            place = tuple(draw.integers(0, n) for n in spoilt.shape)
            spoilt[place] = np.array(odd[draw.integers(0, len(odd))]).astype(spoilt.dtype)
        try:
            index = InvertedIndex.from_arrays({**arrays, name: spoilt})
        except ValueError:
            refused += 1
            continue
        for ids in (rows[0], rows[7]):
            docs, _ = index.search(ids, np.ones(12, np.float32), 50)
            assert ((docs >= 0) & (docs < 400)).all()
        searched += 1
print(refused > 100, searched > 100)
"""


def test_a_spoilt_inverted_index_is_refused_or_searched_and_never_a_crash() -> None:
    done = subprocess.run([sys.executable, "-c", SPOIL], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


def test_no_two_inner_functions_may_share_a_name() -> None:
    from m3rt_kernels.compiler.jit import inner

    inner("a_name_of_this_test")(lambda x: x)
    with pytest.raises(ValueError, match="two compiled functions are named 'a_name_of_this_test'"):
        inner("a_name_of_this_test")
