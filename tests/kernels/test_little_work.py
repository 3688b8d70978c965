"""Little work does not wait for compilations, whatever the cache holds gives the same, and nobody else's code runs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import m3rt_kernels
import numpy as np
import pytest

pytest.importorskip("numba")
from m3rt_kernels.compiler.cache import is_ours
from m3rt_kernels.compiler.isa import TABLE, host_features

SOURCES = Path(m3rt_kernels.__file__).parent
LITTLE = """
import sys
import numpy as np
from m3rt_kernels import *
from m3rt_kernels.compiler import jit
jit._eager = "eager" in sys.argv
draw = np.random.default_rng(0)
vectors = draw.normal(size=(400, 64)).astype(np.float32)
query, offsets, half, bits = vectors[:9], np.arange(0, 401, 8), vectors.astype(np.float16), pack_bits(vectors)
codes = quantize_int8(vectors)
ids = np.concatenate([np.sort(draw.choice(90, 12, replace=False)) for _ in range(400)]).astype(np.int32)
rows = np.arange(0, 4801, 12), ids, draw.uniform(0.1, 1, 4800).astype(np.float32)
found = [
    maxsim(query, vectors, offsets), maxsim(query, half, offsets), maxsim_int8(query, *codes, offsets),
    maxsim_binary(query, bits, offsets), dense_top_k(query, vectors, 5)[1], dense_top_k(query, half, 5)[1],
    dense_top_k_int8(query, *codes, 5)[1], dense_top_k_binary(query, bits, 5)[1], sparse_dot(*rows, *rows),
    sparse_dot_rows(*rows, *rows),
    dense_top_k_signs(query[0], sign_words(lambda begin, end: vectors[begin:end], 400, 64), 5)[1],
    InvertedIndex.build(*rows).search(ids[:12], rows[2][:12], 9)[1],
]
np.savez(sys.argv[1], *found)
"""
PATIENT = """
from m3rt_kernels.compiler.jit import either, jit
@jit
def one(x):
    return 1
used = [either(one, cost, lambda kernel: kernel(0), lambda: 0) for cost in (1e6, 1.9e9, 0.2e9, 1.0)]
print(used, either(one, 1.0, lambda kernel: kernel(0), lambda: 0))
"""


def run(*command: object, **settings: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True,
                          env=os.environ | settings)  # fmt: skip
    return done.stdout, done.stderr


def test_little_work_compiles_nothing_and_gives_what_compiled_kernels_give(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run("-c", LITTLE, tmp_path / "cold.npz", NUMBA_CACHE_DIR=str(cache)) == ("", "")
    assert not list(cache.rglob("*.nbi"))
    run("-c", LITTLE, tmp_path / "compiled.npz", "eager")
    assert run("-c", LITTLE, tmp_path / "loaded.npz") == ("", "")
    cold, compiled, loaded = (np.load(tmp_path / f"{name}.npz") for name in ("cold", "compiled", "loaded"))
    for name, expected in compiled.items():
        np.testing.assert_array_equal(loaded[name], expected)
        np.testing.assert_allclose(cold[name], expected, rtol=1e-5, atol=1e-6)


def test_calls_that_together_cost_as_much_as_a_compilation_are_compiled(tmp_path: Path) -> None:
    path = tmp_path / "patient.py"  # a kernel is a function of a file
    path.write_text(PATIENT)
    for expected in ("[0, 0, 1, 1] 1\n", "[1, 1, 1, 1] 1\n"):  # compiled, then loaded
        assert run(path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))[0] == expected


def test_an_array_that_a_kernel_makes_has_no_address() -> None:
    """numba frees an array after the last line that names it: addresses are taken of a function's arguments alone."""
    found = 0
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if path.name == "maxsim.py":  # Python itself, which keeps what a closure names
            continue
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            arguments = {argument.arg for argument in function.args.args}
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and node.attr == "ctypes":
                    assert isinstance(node.value, ast.Name), f"{path.name}:{node.lineno}"
                    found += node.value.id in arguments
                    assert not _makes_arrays(tree), f"{path.name} makes arrays and takes addresses"
    assert found


def _makes_arrays(tree: ast.AST) -> bool:
    makers = {"empty", "zeros", "ones", "full", "arange", "array", "copy", "concatenate", "empty_like", "zeros_like"}
    return any(isinstance(node, ast.Call) and getattr(node.func, "attr", "") in makers for node in ast.walk(tree))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_cache_that_others_may_write_is_ignored_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "patient.py"
    path.write_text(PATIENT)
    run(path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    (directory,) = (tmp_path / "cache").iterdir()
    directory.chmod(0o777)
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    found, told = run(path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert found == "[0, 0, 1, 1] 1\n"  # what is there was not loaded
    assert sorted(line.split()[1] for line in told.splitlines()) == ["compiled", "compiling"]
    assert f"compiled kernels in {directory} are ignored" in told
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_a_cache_of_another_user_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCES / "inverted" / "heap.py"
    assert is_ours(tmp_path, source)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1, raising=False)
    owner = tmp_path.stat().st_uid
    assert is_ours(tmp_path, source) == (owner == 0)  # root may write anywhere anyway
    assert is_ours(SOURCES / "inverted" / "__pycache__", source)


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 ", "x" * 900, *(row.name for row in TABLE)])
def test_an_instruction_set_that_cannot_be_had_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    able = [row.name for row in TABLE if row.needs <= host_features()]
    if name in able:
        pytest.skip(f"this processor has {name}")
    _, told = run("-c", LITTLE, tmp_path / "out.npz", M3RT_ISA=name)
    had = ", ".join(able) or "none of ours"
    assert (
        told.splitlines()[-1]
        == f"m3rt_kernels.compiler.isa.SettingError: M3RT_ISA is {name!r:.40}, expected what this processor has: {had}"
    )


def test_an_instruction_set_comes_too_late_when_numba_has_begun(tmp_path: Path) -> None:
    able = [row.name for row in TABLE if row.needs <= host_features()]
    if not able:
        pytest.skip("this processor has neither AVX2 nor NEON")
    script = f"import numba; numba.njit(lambda x: x)\n{LITTLE}"
    _, told = run("-c", script, tmp_path / "out.npz", M3RT_ISA=able[-1])
    assert told.splitlines()[-1].startswith(
        f"m3rt_kernels.compiler.isa.SettingError: M3RT_ISA is {able[-1]}, but numba has compiled for another set"
    )
