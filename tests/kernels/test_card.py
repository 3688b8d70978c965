"""MaxSim on a card equals its numpy twin; numba's simulator runs the kernel's threads where there is no card."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from m3rt_kernels import maxsim

pytest.importorskip("numba", reason="needs numba")

SIMULATED = """
import sys
import numpy as np
from numba import cuda
from m3rt_kernels.late_interaction.card import score

given = np.load(sys.argv[1])
rows = cuda.to_device(given["vectors"])
def part(name):
    return given[name] if name in given else None
np.save(sys.argv[2], score(given["query"], rows, given["offsets"], part("documents"), part("query_offsets")))
"""


def on_card(tmp_path: Path, **arrays: np.ndarray) -> np.ndarray:
    np.savez(tmp_path / "given.npz", **arrays)
    command = [sys.executable, "-c", SIMULATED, str(tmp_path / "given.npz"), str(tmp_path / "scores.npy")]
    done = subprocess.run(command, env={"NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.load(tmp_path / "scores.npy")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_documents_of_every_length_score_as_on_the_cpu(tmp_path: Path, dtype: type) -> None:
    draw = np.random.default_rng(1)
    lengths = np.array([0, 1, 31, 32, 33, 5])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    vectors = draw.standard_normal((offsets[-1], 40)).astype(dtype)
    query = draw.standard_normal((35, 40)).astype(np.float32)  # two tiles of tokens, two of components
    scores = on_card(tmp_path, query=query, vectors=vectors, offsets=offsets)
    np.testing.assert_allclose(scores, maxsim(query, vectors, offsets), rtol=1e-5, atol=1e-5)


def test_chosen_documents_and_several_queries_score_as_on_the_cpu(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    offsets, documents = np.array([0, 3, 3, 9]), np.array([2, 0, 2, 1])
    vectors, query = (draw.standard_normal((9, 8)).astype(np.float32) for _ in range(2))
    parts = {"offsets": offsets, "documents": documents, "query_offsets": np.array([0, 4, 4, 9])}
    scores = on_card(tmp_path, query=query, vectors=vectors, **parts)
    expected = maxsim(query, vectors, **parts)
    assert scores.shape == expected.shape == (3, 4)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_products_that_are_not_numbers_are_left_out(tmp_path: Path) -> None:
    vectors = np.array([[np.nan, 1], [2, 0], [np.nan, np.nan]], np.float32)
    query, offsets = np.eye(2, dtype=np.float32), np.array([0, 2, 3])
    np.testing.assert_array_equal(
        on_card(tmp_path, query=query, vectors=vectors, offsets=offsets), maxsim(query, vectors, offsets)
    )
