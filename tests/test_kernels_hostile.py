"""Whatever arrays a public function is given, it raises ValueError or computes what numpy does: it never crashes.

The attacks run in processes of their own, whose allocator fills what is freed: a crash is an exit status here.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ALLOCATOR = {"MALLOC_PERTURB_": "165", "MALLOC_ARENA_MAX": "1"}

ATTACK = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import hostile_arrays
print(hostile_arrays.attack(sys.argv[1]))
"""


@pytest.mark.parametrize("target", [
    "maxsim float32", "maxsim float16", "maxsim_int8", "maxsim_binary", "dense_top_k float32", "dense_top_k float16",
    "dense_top_k_int8", "dense_top_k_binary", "dense_scores", "top_k", "sparse_dot", "sparse_dot_rows", "scatter_max",
    "inverted float32", "inverted uint8", "inverted build",
])  # fmt: skip
def test_mutated_arrays_are_refused_or_give_what_numpy_gives(target: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTACK, target], capture_output=True, text=True, env=os.environ | ALLOCATOR
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused, computed = map(int, done.stdout.split())
    assert refused > 20
    assert computed > 20
