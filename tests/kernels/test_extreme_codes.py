"""MaxSim of the greatest and least numbers that a code can be, and of every dimension, on each path: exact."""

import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import maxsim, maxsim_int8, quantize_int8
from m3rt_kernels.compiler import jit
from m3rt_kernels.compiler.isa import instruction_set

Array = np.ndarray[Any, Any]
fuzz = settings(max_examples=40)
LENGTHS = st.lists(st.integers(0, 20), min_size=1, max_size=6)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", params=["compiled", "numpy"], autouse=True)
def _path(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(sys.modules["m3rt_kernels.late_interaction.maxsim"], "_native", lambda: None)
        elif not jit.available() or instruction_set() is None:
            pytest.skip("nothing is compiled for this processor")
        patch.setattr(jit, "_eager", True)
        yield


def best_of_integers(codes: Array, rows: Array, scales: Array) -> Array:
    """The best match of each query token (nq,), by sums of 64-bit integers."""
    products = codes.astype(np.int64) @ rows.astype(np.int64).T
    return (products.astype(np.float32) * scales).max(axis=1)


@given(nq=st.integers(1, 40), lengths=LENGTHS, eights=st.integers(1, 128), seed=SEEDS)
@fuzz
def test_codes_at_both_ends_are_summed_exactly(nq: int, lengths: list[int], eights: int, seed: int) -> None:
    """Sums reach 1024 * 127 * 128, in 16-bit halves of which a product would saturate."""
    draw, dim, offsets = np.random.default_rng(seed), 8 * eights, np.concatenate([[0], np.cumsum(lengths)])
    ends = draw.choice([-128, -127, 127, 127], size=(sum(lengths), 1))
    codes = np.where(draw.random((sum(lengths), dim)) < 0.9, ends, draw.choice([-128, 127, 0], size=dim))
    codes, scales = codes.astype(np.int8), draw.random(sum(lengths), np.float32)
    query = np.where(draw.random((nq, dim)) < 0.1, draw.random((nq, dim)), draw.choice([-1, 1], size=(nq, 1)))
    query = query.astype(np.float32)
    tokens, sizes = quantize_int8(query)
    expected = [
        (best_of_integers(tokens, codes[a:b], scales[a:b]) * sizes.astype(float) / nq).sum() if b > a else 0
        for a, b in pairwise(offsets)
    ]
    np.testing.assert_allclose(maxsim_int8(query, codes, scales, offsets), expected, rtol=3e-7)


@given(nq=st.integers(1, 20), lengths=LENGTHS, dim=st.integers(1, 1024), seed=SEEDS)
@fuzz
def test_float32_of_every_dimension_equals_sums_in_double(nq: int, lengths: list[int], dim: int, seed: int) -> None:
    draw, offsets = np.random.default_rng(seed), np.concatenate([[0], np.cumsum(lengths)])
    query, rows = (draw.normal(size=(n, dim)).astype(np.float32) / np.float32(dim**0.5) for n in (nq, sum(lengths)))
    products = query.astype(float) @ rows.astype(float).T
    expected = [products[:, a:b].max(axis=1).mean() if b > a else 0 for a, b in pairwise(offsets)]
    np.testing.assert_allclose(maxsim(query, rows, offsets), expected, atol=2e-6)
