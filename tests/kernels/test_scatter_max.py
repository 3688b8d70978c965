"""scatter_max against a plain Python loop, over ragged arrays with empty rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import scatter_max

fuzz = settings(max_examples=200)
Array = np.ndarray[Any, Any]


def offsets_of(lengths: Sequence[int]) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


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
