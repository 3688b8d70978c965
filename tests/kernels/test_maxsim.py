"""MaxSim in each storage and on each path, against plain loops and against vectors that were never quantized."""

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8
from m3rt_kernels.compiler import jit
from m3rt_kernels.compiler.isa import instruction_set
from m3rt_kernels.quantize import unpack_bits

Array = np.ndarray[Any, Any]
fuzz = settings(max_examples=60)
KINDS = ["float32", "float16", "int8", "bits"]
MODULE = sys.modules["m3rt_kernels.late_interaction.maxsim"]
LENGTHS = st.lists(st.one_of(st.integers(0, 6), st.integers(7, 60)), max_size=6)
RAGGED = {"nq": st.integers(0, 70), "lengths": LENGTHS, "eights": st.integers(1, 20), "seed": st.integers(0, 2**32 - 1)}


@pytest.fixture(scope="module", params=["compiled", "numpy"], autouse=True)
def _path(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(MODULE, "_native", lambda: None)
        elif instruction_set() is None:
            pytest.skip("nothing is compiled for this processor")
        patch.setattr(jit, "_eager", True)
        yield


def offsets_of(lengths: Sequence[int]) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def unit_rows(seed: int, rows: int, dim: int) -> Array:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def stored(kind: str, vectors: Array) -> tuple[Array, ...]:
    if kind == "int8":
        return quantize_int8(vectors)
    return (pack_bits(vectors),) if kind == "bits" else (vectors.astype(kind),)


def score(kind: str, query: Array, rows: tuple[Array, ...], offsets: Array, **options: Any) -> Array:
    function = {"int8": maxsim_int8, "bits": maxsim_binary}.get(kind, maxsim)
    return function(query, *rows, offsets, **options)  # type: ignore[arg-type]


def as_multiplied(kind: str, query: Array, rows: tuple[Array, ...]) -> tuple[Array, Array]:
    """The real numbers that a kind of storage stands for, in float64: query tokens and document tokens."""
    if kind in ("float32", "float16"):
        return query.astype(float), rows[0].astype(float)
    codes, scales = quantize_int8(query)
    query = codes * scales[:, None].astype(float)
    if kind == "int8":
        return query, rows[0] * rows[1][:, None].astype(float)
    return query, unpack_bits(rows[0]) * np.sqrt(np.pi / 2 / query.shape[1])


def slow_maxsim(query: Array, vectors: Array, offsets: Array) -> list[float]:
    scores = []
    for start, end in pairwise(offsets.tolist()):
        best = [max(float(q @ v) for v in vectors[start:end]) for q in query if end > start]
        scores.append(sum(best) / len(best) if best else 0.0)
    return scores


@pytest.mark.parametrize("kind", KINDS)
@given(**RAGGED)
@fuzz
def test_each_storage_equals_its_loop(kind: str, nq: int, lengths: list[int], eights: int, seed: int) -> None:
    query, vectors = unit_rows(seed, nq, 8 * eights), unit_rows(seed + 1, sum(lengths), 8 * eights)
    offsets, rows = offsets_of(lengths), stored(kind, vectors)
    scores = score(kind, query, rows, offsets)
    assert (scores.shape, scores.dtype) == ((len(lengths),), np.float32)
    expected = slow_maxsim(*as_multiplied(kind, query, rows), offsets)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(**RAGGED, picks=st.lists(st.integers(0, 2**31), max_size=9))
@fuzz
def test_chosen_documents_score_as_among_all(
    kind: str, nq: int, lengths: list[int], eights: int, seed: int, picks: list[int]
) -> None:
    query, rows = unit_rows(seed, nq, 8 * eights), stored(kind, unit_rows(seed + 1, sum(lengths), 8 * eights))
    documents = np.array([p % len(lengths) for p in picks] if lengths else [], np.int64)
    every = score(kind, query, rows, offsets_of(lengths))
    few = score(kind, query, rows, offsets_of(lengths), documents=documents, threads=1)
    np.testing.assert_array_equal(few, every[documents])


@pytest.mark.parametrize("kind", KINDS)
@given(**RAGGED, queries=st.lists(st.integers(0, 40), max_size=5))
@fuzz
def test_a_batch_of_queries_scores_as_each_alone(
    kind: str, nq: int, lengths: list[int], eights: int, seed: int, queries: list[int]
) -> None:
    query_offsets, offsets = offsets_of(queries), offsets_of(lengths)
    query = unit_rows(seed, int(query_offsets[-1]), 8 * eights)
    rows = stored(kind, unit_rows(seed + 1, sum(lengths), 8 * eights))
    batch = score(kind, query, rows, offsets, query_offsets=query_offsets)
    assert batch.shape == (len(queries), len(lengths))
    for one, (start, end) in zip(batch, pairwise(query_offsets), strict=True):
        np.testing.assert_allclose(one, score(kind, query[start:end], rows, offsets), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("nq", "dim"), [(32, 1024), (600, 1024), (33, 128), (1500, 64)])
def test_work_shared_by_threads_equals_work_by_one(kind: str, nq: int, dim: int) -> None:
    lengths = [3, 0, 700, 1, 64, 64, 500, 12, 13]
    query, rows = unit_rows(0, nq, dim), stored(kind, unit_rows(1, sum(lengths), dim))
    one, three = (score(kind, query, rows, offsets_of(lengths), threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)
    expected = as_multiplied(kind, query, rows)
    similarity = expected[0] @ expected[1].T
    best = [similarity[:, a:b].max(axis=1).mean() if b > a else 0 for a, b in pairwise(offsets_of(lengths))]
    np.testing.assert_allclose(one, best, atol=1e-6)


@given(dim=st.integers(1, 70), nq=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
@fuzz
def test_float32_takes_any_dim(dim: int, nq: int, seed: int) -> None:
    query, vectors, offsets = unit_rows(seed, nq, dim), unit_rows(seed + 1, 20, dim), np.array([0, 1, 20])
    np.testing.assert_allclose(maxsim(query, vectors, offsets), slow_maxsim(query, vectors, offsets), atol=1e-6)


@pytest.mark.parametrize("lengths", [
    [1000] * 140, [65_536, 65_536, 1], [65_535, 1, 1], [1, 70_000, 0, 2, 70_000], [0, 140_000, 0],
], ids=str)  # fmt: skip
def test_more_vectors_than_fit_in_a_block_change_nothing(lengths: list[int]) -> None:
    offsets = offsets_of(lengths)
    query, vectors = unit_rows(0, 3, 2), unit_rows(1, int(offsets[-1]), 2)
    best = [(query @ vectors[a:b].T).max(axis=1).mean() if b > a else 0 for a, b in pairwise(offsets)]
    np.testing.assert_allclose(maxsim(query, vectors, offsets), best, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_best_match_below_zero_stays_below_zero(kind: str) -> None:
    query, rows = np.ones((2, 8), np.float32), stored(kind, -np.ones((17, 8), np.float32))
    expected = -8 if kind != "bits" else -np.sqrt(8 * np.pi / 2)
    scores = score(kind, query, rows, np.array([0, 0, 1, 4, 17]))
    np.testing.assert_allclose(scores, [0, expected, expected, expected], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_mapped_read_only_and_strided_arrays_score_like_plain_ones(kind: str, tmp_path: Path) -> None:
    query, offsets = unit_rows(0, 5, 64), np.array([0, 10, 30])
    rows = stored(kind, unit_rows(1, 30, 64))
    expected = score(kind, query, rows, offsets)
    mapped = []
    for i, array in enumerate(rows):
        np.save(tmp_path / f"{i}.npy", array)
        mapped.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    np.testing.assert_array_equal(score(kind, query, tuple(mapped), offsets), expected)
    strided = tuple(np.repeat(array, 2, axis=0)[::2] for array in rows)
    np.testing.assert_array_equal(score(kind, np.asfortranarray(query), strided, offsets), expected)
    np.testing.assert_array_equal(score(kind, query, rows, offsets.astype(np.uint32)), expected)


def test_unaligned_vectors_are_read_in_place() -> None:
    query, vectors = unit_rows(0, 5, 16), unit_rows(1, 30, 16)
    shifted = np.frombuffer(b"x" + vectors.tobytes(), np.uint8)[1:].view(np.float32).reshape(30, 16)
    assert not shifted.flags.aligned
    np.testing.assert_array_equal(maxsim(query, shifted, np.array([0, 30])), maxsim(query, vectors, np.array([0, 30])))


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_vectors_that_are_not_a_number_are_passed_over(kind: str) -> None:
    query, vectors = unit_rows(0, 40, 64), unit_rows(1, 30, 64).astype(kind)
    expected = maxsim(query, np.delete(vectors, [3, 7], axis=0), np.array([0, 28]))
    vectors[[3, 7], [0, 63]] = np.nan
    np.testing.assert_allclose(maxsim(query, vectors, np.array([0, 30])), expected, rtol=1e-5)
    assert maxsim(query, vectors, np.array([0, 7, 8, 30]))[1] == -np.inf


@pytest.mark.parametrize("dim", [64, 384, 1024])
def test_int8_scores_differ_by_less_than_half_a_percent(dim: int) -> None:
    """Documents that hold near copies of the query's tokens, as relevant ones do."""
    query, vectors = unit_rows(0, 32, dim), unit_rows(1, 2000, dim)
    vectors[::20] = query[np.arange(100) % 32] + 0.5 * vectors[::20]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    offsets = np.arange(0, 2001, 200)
    exact, quantized = maxsim(query, vectors, offsets), maxsim_int8(query, *quantize_int8(vectors), offsets)
    assert (np.abs(quantized - exact) / exact).max() < 0.005


def test_signs_estimate_the_score_without_bias() -> None:
    query, vectors = unit_rows(0, 200, 1024), unit_rows(1, 200, 1024)
    mixed = 0.6 * query + 0.8 * vectors
    estimates = [
        maxsim_binary(q[None], pack_bits(m[None]), np.array([0, 1]))[0] for q, m in zip(query, mixed, strict=True)
    ]
    exact = (query * mixed).sum(axis=1)
    assert abs(np.mean(estimates - exact)) < 0.01
    assert np.std(estimates - exact) < 0.05


def test_signs_then_int8_find_what_float32_finds() -> None:
    query, vectors = unit_rows(0, 16, 256), unit_rows(1, 6000, 256)
    vectors[:600] += np.repeat(query, 38, axis=0)[:600] * np.linspace(2, 0.2, 600, dtype=np.float32)[:, None]
    vectors = vectors[np.random.default_rng(2).permutation(6000)]
    offsets, codes = np.arange(0, 6001, 20), quantize_int8(vectors)
    exact = set(np.argsort(-maxsim(query, vectors, offsets))[:10].tolist())
    candidates = np.argsort(-maxsim_binary(query, pack_bits(vectors), offsets))[:40]
    best = candidates[np.argsort(-maxsim_int8(query, *codes, offsets, documents=candidates))[:10]]
    assert len(exact & set(best.tolist())) >= 9


@pytest.mark.parametrize(("change", "words"), [
    ({"query": np.zeros((2, 9), np.float32)}, r"query is \(2, 9\) and vectors \(4, 8\)"),
    ({"query": np.zeros(8, np.float32)}, r"query is \(8,\)"),
    ({"vectors": np.zeros(8, np.float32)}, r"vectors \(8,\)"),
    ({"query": np.zeros((2, 0), np.float32), "vectors": np.zeros((4, 0), np.float32)}, r"query is \(2, 0\)"),
    ({"query": np.zeros((2, 8))}, "query is float64 and vectors float32, expected float32 and float32 or float16"),
    ({"vectors": np.zeros((4, 8))}, "vectors float64"),
    ({"query": np.full((2, 8), np.nan, np.float32)}, "query holds NaN"),
    ({"query": np.full((2, 8), np.inf, np.float32)}, "query holds NaN or infinity"),
    ({"query": np.zeros((2, 9), np.float32), "vectors": np.zeros((4, 9), np.float16)}, "9 dimensions, expected a mult"),
    ({"offsets": np.array([0, 5])}, "offsets must rise from 0 to 4"),
    ({"offsets": np.array([0, 3])}, "offsets must rise from 0 to 4"),
    ({"offsets": np.array([], np.int64)}, "offsets must rise from 0 to 4"),
    ({"offsets": np.array([1, 4])}, "offsets must rise from 0 to 4"),
    ({"offsets": np.array([0, 3, 2, 4])}, "offsets must rise from 0 to 4"),
    ({"offsets": np.array([0, -3, 4])}, "offsets must rise from 0 to 4"),
    ({"offsets": np.array([0, 9, 4]), "documents": np.array([0])}, "offsets must rise from 0 to 4"),
    ({"offsets": np.array([0.0, 4.0])}, "offsets are float64"),
    ({"documents": np.array([1])}, r"documents are 1..1, expected indices of 0..0"),
    ({"documents": np.array([0, -1])}, r"documents are -1..0"),
    ({"documents": np.array([True])}, "documents are bool"),
    ({"query_offsets": np.array([0, 3])}, "query_offsets must rise from 0 to 2"),
    ({"query_offsets": np.array([0, 2, 1, 2])}, "query_offsets must rise from 0 to 2"),
    ({"threads": 0}, "threads is 0, expected an integer of at least 1"),
    ({"threads": 1.5}, "threads is 1.5"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    fine = {"query": np.ones((2, 8), np.float32), "vectors": np.ones((4, 8), np.float32), "offsets": np.array([0, 4])}
    with pytest.raises(ValueError, match=words):
        maxsim(**fine | change)


@pytest.mark.parametrize(("call", "words"), [
    (lambda q: maxsim_int8(q, np.zeros((4, 8), np.uint8), np.ones(4, np.float32), np.array([0, 4])), "codes uint8"),
    (lambda q: maxsim_int8(q, np.zeros((4, 8), np.int8), np.ones(3, np.float32), np.array([0, 4])), r"\(4,\), one for"),
    (lambda q: maxsim_int8(q, np.zeros((4, 8), np.int8), np.ones(4), np.array([0, 4])), "scales are float64"),
    (lambda q: maxsim_int8(q[:, :7], np.zeros((4, 7), np.int8), np.ones(4, np.float32), np.array([0, 4])), "7 dimens"),
    (lambda q: maxsim_binary(q, np.zeros((4, 8), np.uint8), np.array([0, 4])), r"bits \(4, 8\), .*dim // 8"),
    (lambda q: maxsim_binary(q, np.zeros((4, 1), np.int8), np.array([0, 4])), "bits int8"),
])  # fmt: skip
def test_codes_that_do_not_fit_are_refused(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(np.ones((2, 8), np.float32))
