"""Dense search, top-k and fusion against float64 numpy and plain loops, with numba and without it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import dense_scores, dense_top_k, dense_top_k_binary, dense_top_k_int8, rrf, top_k
from m3rt_kernels.compiler import jit
from m3rt_kernels.quantize import pack_bits, quantize_int8

fuzz = settings(max_examples=60)
SEEDS = st.integers(0, 2**32 - 1)
Array = np.ndarray[Any, Any]


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def storey(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr(jit, "_eager", True)
    else:
        monkeypatch.setattr(jit, "available", lambda: False)


def rows(seed: int, n: int, dim: int) -> Array:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def slow_top_k(scores: Array, k: int, alive: Array | None) -> list[int]:
    allowed = [i for i in range(len(scores)) if alive is None or alive[i]]
    return sorted(allowed, key=lambda i: (-scores[i], i))[:k]


# ---- top_k


@given(
    st.lists(st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 2.0, np.inf]), max_size=40), st.integers(1, 50), st.data()
)
@fuzz
def test_top_k_equals_sorting(scores: list[float], k: int, data: st.DataObject) -> None:
    alive = data.draw(st.none() | st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    mask = None if alive is None else np.array(alive, np.bool_)
    array = np.array(scores, np.float32)
    places, values = top_k(array, k, alive=mask)
    assert places.tolist() == slow_top_k(array, k, mask)
    assert values.tolist() == array[places].tolist()
    assert (places.dtype, values.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("k", [1, 100, 5000, 1 << 16])
@pytest.mark.parametrize("kind", ["normal", "rising", "few values", "equal", "one above"])
def test_top_k_of_many_scores_equals_sorting(kind: str, k: int) -> None:
    draw = np.random.default_rng(0)
    scores = {
        "normal": draw.normal(size=1 << 17), "rising": np.arange(1 << 17), "equal": np.zeros(1 << 17),
        "few values": draw.integers(0, 9, 1 << 17), "one above": np.arange(1 << 17) == 5,
    }[kind].astype(np.float32)  # fmt: skip
    for alive in (None, draw.random(1 << 17) < 0.5, draw.random(1 << 17) < 1e-3):
        order = np.lexsort((np.arange(1 << 17), -scores))
        expected = order if alive is None else order[alive[order]]
        places, values = top_k(scores, k, alive=alive)
        np.testing.assert_array_equal(places, expected[:k])
        np.testing.assert_array_equal(values, scores[places])


@pytest.mark.parametrize(("scores", "k", "words"), [
    (np.array([1, np.nan], np.float32), 1, "NaN at index 1"), (np.zeros(2), 1, "scores is float64"),
    (np.zeros((2, 2), np.float32), 1, "1 dimension"), (np.zeros(2, np.float32), 0, "k is 0"),
])  # fmt: skip
def test_top_k_refuses(scores: Array, k: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        top_k(scores, k)


# ---- dense search


@given(
    nq=st.integers(0, 9), n=st.integers(0, 40), dim=st.sampled_from([1, 7, 16, 40]), k=st.integers(1, 50), seed=SEEDS
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@fuzz
def test_dense_search_equals_scoring_every_row(dtype: Any, nq: int, n: int, dim: int, k: int, seed: int) -> None:
    queries, vectors = rows(seed, nq, dim), rows(seed + 1, n, dim).astype(dtype)
    alive = None if seed % 2 else np.random.default_rng(seed).random(n) < 0.5
    check_search(dense_top_k(queries, vectors, k, alive=alive, threads=2), queries.astype(float) @ vectors.T, k, alive)


@given(nq=st.integers(0, 9), n=st.integers(1, 40), dim=st.sampled_from([1, 16, 40]), k=st.integers(1, 50), seed=SEEDS)
@fuzz
def test_int8_search_equals_scoring_every_row(nq: int, n: int, dim: int, k: int, seed: int) -> None:
    queries, (codes, scales) = rows(seed, nq, dim), quantize_int8(rows(seed + 1, n, dim))
    expected = queries.astype(float) @ (codes.astype(float) * scales[:, None]).T
    check_search(dense_top_k_int8(queries, codes, scales, k), expected, k, None)


@given(nq=st.integers(0, 5), n=st.integers(1, 40), dim=st.sampled_from([8, 24, 64]), k=st.integers(1, 50), seed=SEEDS)
@fuzz
def test_binary_search_equals_scoring_every_row(nq: int, n: int, dim: int, k: int, seed: int) -> None:
    queries, vectors = rows(seed, nq, dim), rows(seed + 1, n, dim)
    expected = queries.astype(float) @ np.where(vectors >= 0, 1, -1).T / np.sqrt(dim)
    check_search(dense_top_k_binary(queries, pack_bits(vectors), k), expected, k, None)


def check_search(found: tuple[Array, Array], expected: Array, k: int, alive: Array | None) -> None:
    """Scores equal the float64 ones of their documents and those of its ranking, ties within rounding aside."""
    docs, scores = found
    assert (docs.dtype, scores.dtype, docs.shape) == (np.int64, np.float32, scores.shape)
    for line, own, values in zip(expected, docs, scores, strict=True):
        ranking = slow_top_k(line, k, alive)
        assert len(own) == len(ranking) == len(set(own.tolist()))
        np.testing.assert_allclose(values, line[own], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(values, line[ranking], rtol=1e-5, atol=1e-5)
        assert alive is None or alive[own].all()


def test_every_float16_scores_as_the_float32_of_its_value() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[~np.isnan(halves)]
    docs, scores = dense_top_k(np.ones((1, 1), np.float32), halves[:, None], len(halves))
    np.testing.assert_array_equal(scores[0], halves[docs[0]].astype(np.float32))


def test_equal_rows_rank_by_their_number() -> None:
    docs, _ = dense_top_k(np.ones((1, 16), np.float32), np.ones((50, 16), np.float32), 5)
    assert docs.tolist() == [[0, 1, 2, 3, 4]]


def test_threads_blocks_and_batches_change_nothing() -> None:
    queries, vectors = rows(0, 21, 64), rows(1, 5000, 64)
    docs, scores = dense_top_k(queries, vectors, 10, threads=3)
    for i in (0, 15, 20):
        one = dense_top_k(queries[i : i + 1], vectors, 10, threads=1)
        assert one[0].tolist() == docs[i : i + 1].tolist()
        np.testing.assert_allclose(one[1], scores[i : i + 1], rtol=1e-5)


def test_mapped_read_only_and_strided_rows_score_the_same() -> None:
    queries, vectors = rows(0, 2, 16), rows(1, 100, 32)
    vectors.flags.writeable = False
    strided = dense_top_k(queries, vectors[::2, ::2], 5)
    copied = dense_top_k(queries, vectors[::2, ::2].copy(), 5)
    assert strided[0].tolist() == copied[0].tolist()


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_scores_of_given_documents_are_those_of_the_search(kind: str) -> None:
    query, vectors = rows(0, 1, 16), rows(1, 30, 16)
    codes, scales = quantize_int8(vectors)
    docs, scores = (
        dense_top_k_int8(query, codes, scales, 30) if kind == "int8" else dense_top_k(query, vectors.astype(kind), 30)
    )
    stored, own = (codes, scales) if kind == "int8" else (vectors.astype(kind), None)
    np.testing.assert_allclose(dense_scores(query[0], stored, docs[0], scales=own), scores[0], rtol=1e-4, atol=1e-5)


Q, V = np.zeros((1, 8), np.float32), np.zeros((3, 8), np.float32)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: dense_top_k(Q[:, :4], V, 1), r"queries are \(1, 4\) and vectors \(3, 8\)"),
    (lambda: dense_top_k(Q[0], V, 1), "2 dimension"),
    (lambda: dense_top_k(Q, V.astype(float), 1), "float32 or float16"),
    (lambda: dense_top_k(Q, V, 0), "k is 0"),
    (lambda: dense_top_k(Q, V, 1, alive=np.ones(2, np.bool_)), r"expected bool \(3,\)"),
    (lambda: dense_top_k(Q * np.nan, V, 1), "queries hold NaN"),
    (lambda: dense_top_k(Q + 1, V * np.nan, 1), "row 0 scores NaN"),
    (lambda: dense_top_k(Q, V, 1, threads=0), "threads is 0"),
    (lambda: dense_top_k_int8(Q, V.astype(np.int8), np.ones(2, np.float32), 1), "2 scales for 3 rows"),
    (lambda: dense_top_k_binary(Q, np.zeros((3, 2), np.uint8), 1), r"vectors \(3, 16\)"),
    (lambda: dense_scores(Q[0], V, np.array([3])), r"documents are 3..3, expected 0..2"),
    (lambda: dense_scores(Q[0], V.astype(np.int8), np.array([0])), "int8 needs them"),
    (lambda: dense_scores(Q[0], V, np.array([0]), scales=np.ones(3, np.float32)), "others none"),
])  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


# ---- fusion

RANKINGS = st.lists(st.lists(st.integers(-5, 12), unique=True, max_size=10), max_size=4)


@given(rankings=RANKINGS, k=st.sampled_from([0, 1, 60]))
@fuzz
def test_rrf_equals_its_loop(rankings: list[list[int]], k: int) -> None:
    weights = [1 + i for i in range(len(rankings))]
    expected: dict[int, float] = {}
    for weight, ranking in zip(weights, rankings, strict=True):
        for rank, doc in enumerate(ranking, 1):
            expected[doc] = expected.get(doc, 0) + weight / (k + rank)
    ids, scores = rrf([np.array(r, np.int64) for r in rankings], k=k, weights=weights)
    check_fused(ids, scores, expected)


def check_fused(ids: Array, scores: Array, expected: dict[int, float]) -> None:
    assert (ids.dtype, scores.dtype) == (np.int64, np.float64)
    assert sorted(ids.tolist()) == sorted(expected)
    np.testing.assert_allclose(scores, [expected[i] for i in ids.tolist()], rtol=1e-9, atol=1e-9)
    order = list(zip((-scores).tolist(), ids.tolist(), strict=True))
    assert order == sorted(order)


ONE = np.array([1, 2])


@pytest.mark.parametrize(("call", "words"), [
    (lambda: rrf([np.array([1, 1])]), "ranking 0 repeats an id"),
    (lambda: rrf([ONE], k=-1), "k is -1"),
    (lambda: rrf([ONE], weights=[1, 2]), "expected 1 finite numbers >= 0"),
    (lambda: rrf([ONE], weights=[-1]), ">= 0"),
    (lambda: rrf([np.array([1.5])]), "ranking 0 is float64"),
])  # fmt: skip
def test_rankings_that_do_not_fit_are_refused(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
