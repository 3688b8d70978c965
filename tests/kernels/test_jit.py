"""Kernels compile when first called; nothing that happens to the cache on disk can hurt."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import m3rt_kernels
import pytest
from own_lines import own_lines

pytest.importorskip("numba")

MODULE = """
from m3rt_kernels.compiler.jit import jit

@jit
def square(x):
    return x * x

@jit(fastmath=True)
def sum_of_squares(n):
    total = 0
    for i in range(n):
        total += square(i)
    return total
"""
CALL = """
import sys
from some_kernels import sum_of_squares
print("numba" in sys.modules, end=" ")
print(sum_of_squares(4), sum_of_squares(n=3), sum(sum_of_squares.dispatcher().stats.cache_hits.values()))
"""


COMPILING = "m3rt: compiling kernels for this processor, once, for 10 to 30 s (python -m m3rt_kernels does it ahead)\n"
told: list[str] = []  # what the processes said on stderr


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/some_kernels.py").write_text(MODULE)

    def run(script: str = CALL, **settings: str) -> str:
        environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / "code")}
        done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True,
                              env=dict(os.environ) | environment | settings)  # fmt: skip
        assert (done.returncode, done.stderr) in ((0, ""), (0, COMPILING))
        told.append(done.stderr)
        return done.stdout

    return run


def test_the_first_process_compiles_and_the_next_loads(run: Callable[..., str]) -> None:
    assert [run(), run()] == ["False 14 5 0\n", "False 14 5 1\n"]


def test_a_compilation_is_told_once_and_what_the_cache_holds_is_not(run: Callable[..., str]) -> None:
    run()
    run()
    assert told[-2:] == [COMPILING, ""]


def test_an_application_can_have_the_line_elsewhere(run: Callable[..., str]) -> None:
    run(f"import logging; logging.getLogger('m3rt_kernels').setLevel(logging.ERROR)\n{CALL}")
    assert told[-1] == ""


def test_an_interrupt_in_a_finalizer_ends_a_compilation() -> None:
    script = """
import signal
from m3rt_kernels.compiler.interrupts import interruptible
class Loud:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
try:
    with interruptible():
        Loud()
        print("compiled")
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "compiled\ninterrupted True\n")


def test_a_process_that_may_not_compile_uses_numpy() -> None:
    script = """
import numpy as np
from m3rt_kernels import *
eye, offsets = np.eye(8, dtype=np.float32), np.array([0, 4, 8])
rows = np.array([0, 2, 4]), np.array([0, 1, 1, 2], np.int32), np.ones(4, np.float32)
print(maxsim(eye, eye, offsets), dense_top_k(eye, eye, 1)[1].max(), sparse_dot(*rows, *rows).sum(),
      InvertedIndex.build(*rows).search(rows[1][:2], rows[2][:2], 1)[1],
      maxsim_binary(eye, pack_bits(eye), offsets).shape)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True,
                          env=dict(os.environ) | {"NUMBA_DISABLE_JIT": "1"})  # fmt: skip
    assert (done.stdout, done.stderr) == ("[0.5 0.5] 1.0 6.0 [2.] (2,)\n", "")


# Adds to indexes of every precision, searches in every way, scores pairs: whatever m3rt does with kernels.
USE_ALL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from corpus import DIM, documents, embeddings
from m3rt_kernels.compiler import jit
import m3rt
jit._eager = True
query = embeddings(documents(1, seed=9))
for dense in ("float32", "int8", "binary", "binary+int8"):
    for colbert in ("int8", "binary", "binary+int8"):
        index = m3rt.HybridIndex.create(f"{{sys.argv[1]}}/{{dense}}-{{colbert}}", dim=DIM, dense=dense, colbert=colbert)
        for i in range(2):
            ids, tags = [f"{{i}}-{{j}}" for j in range(100)], [{{"tag": j % 2}} for j in range(100)]
            index.add(ids, embeddings=embeddings(documents(100, seed=i)), metadata=tags)
        for mode in ("dense", "sparse", "colbert", "hybrid"):
            index.search(query, mode=mode)
        index.search(query, fusion="rrf", filter={{"tag": 1}})
        index.delete(["0-1"])
        index.compact()
out = (model := m3rt.M3Encoder()).encode(["a b", "c"], return_sparse=True)
model.compute_score([("a", "b")])
m3rt.lexical_matching_score(out.lexical_weights, out.lexical_weights)
"""


def test_after_warming_nothing_is_left_to_compile(tmp_path: Path) -> None:
    def run(*command: str) -> str:
        environment = dict(os.environ) | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return own_lines(done.stderr)

    assert run("-m", "m3rt_kernels") == COMPILING
    assert run("-c", USE_ALL, str(tmp_path)) == ""


def test_what_a_process_compiles_after_an_upgrade_is_not_taken_for_the_new_code(
    run: Callable[..., str], tmp_path: Path
) -> None:
    package = Path(m3rt_kernels.__file__).parent
    shutil.copytree(package, tmp_path / "code" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    upgrade = f"""
import m3rt_kernels.compiler.jit
with open({str(tmp_path / "code" / package.name / "inverted" / "heap.py")!r}, "a") as file:
    print(file=file)
"""
    assert [run(upgrade + CALL), run(), run()] == ["False 14 5 0\n", "False 14 5 0\n", "False 14 5 1\n"]


@pytest.mark.parametrize("damage", [b"", b"not a pickle", b"\x80\x04"], ids=["empty", "text", "truncated"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_compiled_anew(run: Callable[..., str], tmp_path: Path, damage: bytes, suffix: str) -> None:
    run()
    damaged = list((tmp_path / "cache").rglob(f"*.{suffix}"))
    assert damaged
    for path in damaged:
        path.write_bytes(damage)
    assert [run() for _ in range(3)][0::2] == ["False 14 5 0\n", "False 14 5 1\n"]


def test_without_a_directory_that_can_be_written_each_process_compiles(run: Callable[..., str]) -> None:
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": "/dev/null/none"}
    assert [run(**nowhere), run(**nowhere)] == ["False 14 5 0\n"] * 2


def test_a_directory_that_cannot_be_written_any_more_is_no_error(run: Callable[..., str], tmp_path: Path) -> None:
    lose = f"""
import shutil
from pathlib import Path
from some_kernels import sum_of_squares
sum_of_squares.dispatcher()
shutil.rmtree({str(tmp_path / "cache")!r})
Path({str(tmp_path / "cache")!r}).write_text("a file")
"""
    assert run(lose + CALL) == "True 14 5 0\n"


def test_without_numba_a_kernel_says_what_to_install(run: Callable[..., str]) -> None:
    script = """
import sys
sys.modules["numba"] = None
from some_kernels import square
try:
    square(2)
except ImportError as error:
    print(error)
"""
    assert run(script).endswith("; pip install 'm3rt[kernels]'\n")


def test_without_numba_maxsim_is_numpy(run: Callable[..., str]) -> None:
    script = """
import sys
sys.modules["numba"] = None
import numpy as np
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8
eye, offsets = np.eye(8, dtype=np.float32), np.array([0, 4, 8])
print(maxsim(eye, eye, offsets), maxsim_int8(eye, *quantize_int8(eye), offsets),
      maxsim_binary(eye, pack_bits(eye), offsets).shape, "llvmlite" in sys.modules)
"""
    assert run(script) == "[0.5 0.5] [0.5 0.5] (2,) False\n"
