"""Signs of centred vectors: the estimates are the formula's in float64, and the rows that they choose are the best."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import Signs, check_signs, dense_top_k, dense_top_k_signs, sign_words
from m3rt_kernels.compiler import jit

fuzz = settings(max_examples=60)
Array = np.ndarray[Any, Any]


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def storey(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr(jit, "_eager", True)
    else:
        monkeypatch.setattr(jit, "available", lambda: False)


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def signs_of(vectors: Array) -> Signs:
    return sign_words(lambda begin, end: vectors[begin:end], *vectors.shape)


def estimates(query: Array, vectors: Array, offsets: bool = True) -> Array:
    """query . center + center . rest + factor * (the query less the center in 16 steps . signs of rest), in float64.

    Without offsets: query . center + factor * (the query in 16 steps . signs of rest).
    """
    center = vectors.astype(float).mean(axis=0)
    rest = vectors - center
    factors = (rest**2).sum(axis=1) / np.maximum(np.abs(rest).sum(axis=1), 1e-300)
    centred = query - center * offsets
    step = np.abs(centred).max() / 7.5
    rounded = step * (np.clip(np.rint(centred / step + 7.5), 0, 15) - 7.5)
    exact = query.astype(float) @ center + rest @ center * offsets
    return np.asarray(exact + factors * (np.where(rest >= 0, 1, -1) @ rounded))


@given(
    n=st.integers(2, 40), dim=st.sampled_from([1, 7, 63, 64, 65, 200]), k=st.integers(1, 50), seed=st.integers(0, 99)
)
@fuzz
def test_estimates_are_those_of_the_formula(n: int, dim: int, k: int, seed: int) -> None:
    query, vectors = normal(seed, dim), normal(seed + 100, n, dim) + 1
    alive = None if seed % 2 else np.random.default_rng(seed).random(n) < 0.5
    signs = signs_of(vectors) if seed % 3 else signs_of(vectors)._replace(offsets=None)
    expected = estimates(query, vectors, offsets=signs.offsets is not None)
    docs, scores = dense_top_k_signs(query, signs, k, alive=alive, threads=2)
    allowed = np.arange(n) if alive is None else np.flatnonzero(alive)
    best = np.sort(expected[allowed])[::-1][:k]
    assert len(docs) == len(set(docs.tolist())) == len(best)
    assert set(docs.tolist()) <= set(allowed.tolist())
    np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(expected[docs], best, rtol=1e-4, atol=1e-3)


def test_the_estimate_of_a_row_is_its_score_where_the_query_has_two_values() -> None:
    vectors = np.where(normal(0, 50, 64) > 0, 0.5, -0.5).astype(np.float32)  # |rest| is not the same everywhere
    signs = Signs(signs_of(vectors).words, np.full(50, 0.5, np.float32), np.zeros(64, np.float32))
    docs, scores = dense_top_k_signs(vectors[3], signs, 50)
    np.testing.assert_allclose(scores, vectors[docs] @ vectors[3], rtol=1e-5, atol=1e-5)


def test_thirty_two_rows_for_each_wanted_one_include_the_best() -> None:
    texts = normal(0, 200, 128)  # each with neighbours, as texts have them, and all with a common direction
    vectors = 2 + texts[np.arange(6000) % 200] + 0.7 * normal(1, 6000, 128)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    signs, found = signs_of(vectors), 0
    for query in vectors[:20] + 0.02 * normal(2, 20, 128):
        best = dense_top_k(query[None], vectors, 10)[0][0]
        found += len({*best.tolist()} & {*dense_top_k_signs(query, signs, 320)[0].tolist()})
    assert found >= 0.99 * 200


def test_offsets_keep_the_estimates_where_all_vectors_point_one_way() -> None:
    """Such vectors differ little, and the product with what they share must not be a part of what is estimated."""
    vectors = 3 * np.sign(normal(1, 128)) + normal(0, 4000, 128)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    signs, errors = signs_of(vectors), []
    for each in (signs, signs._replace(offsets=None)):
        found = [dense_top_k_signs(query, each, 4000) for query in vectors[:20]]
        errors.append(np.std([scores - vectors[docs] @ vectors[i] for i, (docs, scores) in enumerate(found)]))
    assert errors[0] < errors[1] / 2


def test_threads_and_ranges_change_nothing() -> None:
    vectors = normal(0, 70_000, 64)
    signs, query = signs_of(vectors), normal(1, 64)
    docs, scores = dense_top_k_signs(query, signs, 300, threads=1)
    again = dense_top_k_signs(query, signs, 300, threads=3)
    assert (docs.tolist(), scores.tolist()) == (again[0].tolist(), again[1].tolist())
    expected = estimates(query, vectors)
    np.testing.assert_allclose(scores, np.sort(expected)[::-1][:300], rtol=1e-4, atol=1e-4)


def test_equal_rows_and_rows_of_zeros_rank_by_their_number() -> None:
    for value in (0.0, 1.0):
        docs, _ = dense_top_k_signs(np.ones(16, np.float32), signs_of(np.full((50, 16), value, np.float32)), 5)
        assert docs.tolist() == [0, 1, 2, 3, 4]


def test_a_query_of_zeros_and_no_rows_are_no_error() -> None:
    assert len(dense_top_k_signs(np.zeros(16, np.float32), signs_of(normal(0, 9, 16)), 5)[0]) == 5
    assert len(dense_top_k_signs(np.zeros(16, np.float32), signs_of(normal(0, 0, 16)), 5)[0]) == 0


SIGNS = sign_words(lambda begin, end: np.ones((end - begin, 70), np.float32), 3, 70)
Q = np.ones(70, np.float32)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: dense_top_k_signs(Q[:8], SIGNS, 1), r"expected \(\(3, 1\), \(3,\), \(8,\)\)"),
    (lambda: dense_top_k_signs(Q, SIGNS._replace(words=SIGNS.words[:, :1]), 1), r"expected \(\(3, 2\)"),
    (lambda: dense_top_k_signs(Q, SIGNS._replace(words=SIGNS.words.view(np.int64)), 1), "words is int64"),
    (lambda: dense_top_k_signs(Q, SIGNS._replace(factors=SIGNS.factors * np.nan), 1), "row 0 scores NaN"),
    (lambda: dense_top_k_signs(Q, SIGNS._replace(offsets=SIGNS.factors * np.nan), 1), "row 0 scores NaN"),
    (lambda: dense_top_k_signs(Q, SIGNS._replace(offsets=SIGNS.factors[:2]), 1), "2 offsets for 3 rows"),
    (lambda: dense_top_k_signs(Q * np.nan, SIGNS, 1), "query hold NaN"),
    (lambda: dense_top_k_signs(Q, SIGNS, 0), "k is 0"),
    (lambda: dense_top_k_signs(Q, SIGNS, 1, alive=np.ones(2, np.bool_)), r"expected bool \(3,\)"),
    (lambda: dense_top_k_signs(Q, SIGNS, 1, threads=0), "threads is 0"),
    (lambda: check_signs(SIGNS, 4, 70), r"expected \(\(4, 2\), \(4,\), \(70,\)\)"),
])  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
