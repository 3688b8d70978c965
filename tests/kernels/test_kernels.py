"""The kernels against plain Python loops, over ragged arrays with empty rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import maxsim, scatter_max

fuzz = settings(max_examples=200, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
Array = np.ndarray[Any, Any]


def offsets_of(lengths: Sequence[int]) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def unit_rows(seed: int, *shape: int) -> Array:
    vectors = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# ---- maxsim


def slow_maxsim(query: Array, vectors: Array, offsets: Array) -> list[float]:
    scores = []
    for start, end in pairwise(offsets):
        best = [max(float(q.astype(float) @ v) for v in vectors[start:end]) for q in query if end > start]
        scores.append(sum(best) / len(best) if best else 0.0)
    return scores


@given(nq=st.integers(0, 5), lengths=st.lists(st.integers(0, 6), max_size=8), dim=st.integers(1, 9), seed=SEEDS)
@fuzz
def test_maxsim_equals_its_loop(nq: int, lengths: list[int], dim: int, seed: int) -> None:
    query, vectors = unit_rows(seed, nq, dim), unit_rows(seed + 1, sum(lengths), dim)
    scores = maxsim(query, vectors, offsets_of(lengths))
    assert (scores.shape, scores.dtype) == ((len(lengths),), np.float32)
    np.testing.assert_allclose(scores, slow_maxsim(query, vectors, offsets_of(lengths)), atol=1e-6)


def test_a_best_match_below_zero_stays_below_zero() -> None:
    query, vectors = np.ones((2, 3), np.float32), -np.ones((3, 3), np.float32)
    assert maxsim(query, vectors, np.array([0, 0, 2, 3])).tolist() == [0, -3, -3]


@pytest.mark.parametrize("lengths", [
    [1000] * 140, [65_536, 65_536, 1], [65_535, 1, 1], [1, 70_000, 0, 2, 70_000], [0, 140_000, 0],
], ids=str)  # fmt: skip
def test_more_vectors_than_fit_in_a_block_change_nothing(lengths: list[int]) -> None:
    offsets = offsets_of(lengths)
    query, vectors = unit_rows(0, 3, 2), unit_rows(1, int(offsets[-1]), 2)
    best = [(query @ vectors[a:b].T).max(axis=1).mean() if b > a else 0 for a, b in pairwise(offsets)]
    np.testing.assert_allclose(maxsim(query, vectors, offsets), best, atol=1e-6)


@pytest.mark.parametrize(("query", "vectors", "offsets", "words"), [
    ((2, 3), (4, 5), [0, 4], r"query is \(2, 3\) and vectors \(4, 5\)"),
    ((3,), (4, 3), [0, 4], r"query is \(3,\)"),
    ((2, 3), (12,), [0, 4], r"vectors \(12,\)"),
    ((2, 3), (4, 3), [1, 4], "offsets must rise from 0 to 4"),
    ((2, 3), (4, 3), [0, 3], "offsets must rise from 0 to 4"),
    ((2, 3), (4, 3), [0, 5], "offsets must rise from 0 to 4"),
    ((2, 3), (4, 3), [0, 3, 2, 4], "offsets must rise from 0 to 4"),
    ((2, 3), (0, 3), [], "offsets must rise from 0 to 0"),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(query: Any, vectors: Any, offsets: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        maxsim(np.zeros(query, np.float32), np.zeros(vectors, np.float32), np.array(offsets, np.int64))


# ---- scatter_max


def slow_scatter_max(ids: Array, weights: Array, offsets: Array, unused: tuple[int, ...]) -> list[dict[int, float]]:
    rows = []
    for start, end in pairwise(offsets):
        row: dict[int, float] = {}
        for token, weight in zip(ids[start:end].tolist(), weights[start:end].tolist(), strict=True):
            if token not in unused and weight > row.get(token, 0):
                row[token] = weight
        rows.append(dict(sorted(row.items())))
    return rows


TOKENS = st.tuples(st.integers(0, 12), st.floats(-2, 2, width=32))


@given(rows=st.lists(st.lists(TOKENS, max_size=12), max_size=8), unused=st.sampled_from([(), (0,), (0, 2, 1, 3)]))
@fuzz
def test_scatter_max_equals_its_loop(rows: list[list[tuple[int, float]]], unused: tuple[int, ...]) -> None:
    flat = [token for row in rows for token in row]
    ids, weights = np.array([i for i, _ in flat], np.int32), np.array([w for _, w in flat], np.float32)
    offsets = offsets_of([len(row) for row in rows])
    indptr, indices, values = scatter_max(ids, weights, offsets, unused)
    assert (indptr.dtype, indices.dtype, values.dtype) == (np.int64, np.int32, np.float32)
    found = [(indices[a:b].tolist(), values[a:b].tolist()) for a, b in pairwise(indptr)]
    expected = slow_scatter_max(ids, weights, offsets, unused)
    assert found == [(list(row), list(row.values())) for row in expected]


def test_scatter_max_leaves_its_arguments_alone() -> None:
    ids, weights, offsets = np.array([5, 5, 4], np.int32), np.ones(3, np.float32), np.array([0, 3])
    indptr, indices, values = scatter_max(ids, weights, offsets, ())
    for array in (indptr, indices, values):
        array += 1
    assert (ids.tolist(), weights.tolist(), offsets.tolist()) == ([5, 5, 4], [1, 1, 1], [0, 3])
