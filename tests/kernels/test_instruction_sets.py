"""Every instruction set of this processor, by masking the rest of it, against numpy; and the cache between them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from m3rt_kernels.compiler.isa import TABLE, host_features

COMPILING = "m3rt: compiling kernels for this processor, once, for 10 to 30 s (python -m m3rt_kernels does it ahead)\n"
# The script that each instruction set runs: it compares compiled scores with numpy's.
COMPARE = """
import sys
import numpy as np
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8
from m3rt_kernels.compiler.isa import instruction_set
from m3rt_kernels.compiler import jit
jit._eager = True
module, draw, worst = sys.modules["m3rt_kernels.late_interaction.maxsim"], np.random.default_rng(0), 0.0
native, offsets = module._native, np.array([0, 1, 3, 3, 8, 20, 70, 100])
for dim in (8, 72, 128):
    for nq in (1, 8, 9, 40):
        q, v = (draw.normal(size=(n, dim)).astype(np.float32) / dim**0.5 for n in (nq, 100))
        codes, half = quantize_int8(v), v.astype(np.float16)
        calls = (lambda: maxsim(q, v, offsets), lambda: maxsim(q, half, offsets),
                 lambda: maxsim_int8(q, *codes, offsets), lambda: maxsim_binary(q, pack_bits(v), offsets))
        for call in calls:
            module._native = native
            fast = call()
            module._native = lambda: None
            worst = max(worst, np.abs(fast - call()).max())
used = sys.modules.get("m3rt_kernels.late_interaction.native")
used = used and [len(getattr(used, name).dispatcher().signatures) for name in ("float32", "float16", "int8", "bits")]
print(instruction_set() and instruction_set().name, used, worst < 1e-6)
"""


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_instruction_set_equals_numpy(row: Any, tmp_path: Path) -> None:
    if not host_features() >= row.needs:
        pytest.skip(f"this processor has no {row.name}")
    assert run(COMPARE, tmp_path, M3RT_ISA=row.name) == f"{row.name} [1, 1, 1, 1] True\n"


def test_the_least_processor_of_x86_gets_numpy_and_of_arm_neon(tmp_path: Path) -> None:
    least = "neon [1, 1, 1, 1]" if "neon" in host_features() else "None None"
    assert run(COMPARE, tmp_path, NUMBA_CPU_NAME="generic") == f"{least} True\n"


def test_code_in_the_cache_is_not_run_on_another_processor(tmp_path: Path) -> None:
    able = [row.name for row in TABLE if row.needs <= host_features()]
    if not able:
        pytest.skip("this processor has neither AVX2 nor NEON")
    for settings, name in (({}, None), ({"M3RT_ISA": able[-1]}, able[-1])):
        for hits in ("misses", "hits"):
            found, loaded = run(CACHED, tmp_path, **settings).split()
            assert loaded == hits
            assert name in (None, found)


CACHED = """
import numpy as np
from m3rt_kernels import maxsim
from m3rt_kernels.late_interaction import native
from m3rt_kernels.compiler.isa import instruction_set
from m3rt_kernels.compiler import jit
jit._eager = True
maxsim(np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32), np.array([0, 8]))
print(instruction_set().name, "hits" if native.float32.dispatcher().stats.cache_hits else "misses")
"""


def run(script: str, cache: Path, **settings: str) -> str:
    environment = dict(os.environ) | settings | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) in ((0, ""), (0, COMPILING))
    return done.stdout
