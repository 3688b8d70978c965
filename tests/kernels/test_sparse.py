"""Sparse kernels against plain loops, with numba and without it, over rows made by hypothesis."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import InvertedIndex, sparse_dot, sparse_dot_rows
from m3rt_kernels.compiler import jit
from m3rt_kernels.inverted import index as inverted

from m3rt import lexical_matching_score

fuzz = settings(max_examples=60)
Array = np.ndarray[Any, Any]
Csr = tuple[Array, Array, Array]
# Few ids and few weights, so that rows share terms and scores tie; ids at both ends of int32.
IDS = st.sampled_from([0, 1, 2, 3, 7, 250_001, 1 << 24, 2**31 - 1])
ROWS = st.lists(st.dictionaries(IDS, st.sampled_from([0.0, 0.25, 0.5, 0.3, 1.7]), max_size=6), max_size=40)


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def storey(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr(jit, "_eager", True)
    else:
        monkeypatch.setattr(jit, "available", lambda: False)
    return request.param


def csr(rows: list[dict[int, float]]) -> Csr:
    indptr = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    pairs = [pair for row in rows for pair in sorted(row.items())]
    return indptr, np.array([i for i, _ in pairs], np.int32), np.array([v for _, v in pairs], np.float32)


def zipf(n: int, terms: int, seed: int, vocabulary: int = 5000) -> Csr:
    draw = np.random.default_rng(seed)
    weight = 1 / np.arange(1, vocabulary + 1)
    rows = [np.unique(draw.choice(vocabulary, terms, p=weight / weight.sum())) for _ in range(n)]
    return csr([dict(zip(ids.tolist(), draw.random(len(ids)).tolist(), strict=True)) for ids in rows])


def dot(one: dict[int, float], two: dict[int, float]) -> float:
    return sum(weight * two[token] for token, weight in one.items() if token in two)


# ---- products of rows


@given(a=ROWS, b=ROWS)
@fuzz
def test_sparse_dot_equals_its_loop(a: list[dict[int, float]], b: list[dict[int, float]]) -> None:
    scores = sparse_dot(*csr(a), *csr(b), threads=2)
    assert (scores.shape, scores.dtype) == ((len(a), len(b)), np.float32)
    np.testing.assert_allclose(scores, np.array([[dot(x, y) for y in b] for x in a]).reshape(scores.shape), rtol=1e-6)


@given(pairs=st.lists(st.tuples(*[st.dictionaries(IDS, st.floats(-2, 2, width=32), max_size=6)] * 2), max_size=20))
@fuzz
def test_sparse_dot_rows_equals_its_loop(pairs: list[tuple[dict[int, float], dict[int, float]]]) -> None:
    scores = sparse_dot_rows(*csr([a for a, _ in pairs]), *csr([b for _, b in pairs]), threads=2)
    assert (scores.shape, scores.dtype) == ((len(pairs),), np.float32)
    np.testing.assert_allclose(scores, [dot(a, b) for a, b in pairs], rtol=1e-5, atol=1e-5)


@given(a=st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(-2, 2, width=32)), max_size=9))
@fuzz
def test_lexical_scores_of_two_lists_equal_those_of_their_pairs(a: list[dict[str, float]]) -> None:
    scores = lexical_matching_score(a, a[::-1])
    expected = np.array([[lexical_matching_score(x, y) for y in a[::-1]] for x in a]).reshape(len(a), len(a))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def test_more_rows_than_a_tile_and_a_thread_hold_change_nothing() -> None:
    a, b = zipf(300, 30, 0), zipf(1500, 30, 1)
    whole = sparse_dot(*a, *b, threads=3)
    for i in (0, 127, 128, 299):
        row = slice(a[0][i], a[0][i + 1])
        one = sparse_dot(np.array([0, row.stop - row.start]), a[1][row], a[2][row], *b, threads=1)
        np.testing.assert_allclose(whole[i], one[0], rtol=1e-5)


# ---- inverted index


def plain_search(index: InvertedIndex, query: dict[int, float], alive: Array | None) -> list[tuple[int, float]]:
    """All documents with a score > 0, best first: float32 sums of the stored impacts in the order of ids."""
    sums = [np.float32(0)] * len(index)
    places = {term: place for place, term in enumerate(index.terms.tolist())}
    for token, weight in sorted(query.items()):
        if token in places:
            place = places[token]
            for p in range(index.indptr[place], index.indptr[place + 1]):
                sums[index.docs[p]] += np.float32(weight) * index.impacts[p]
    ranking = sorted((-score, doc) for doc, score in enumerate(sums) if score > 0 and (alive is None or alive[doc]))
    return [(doc, -score) for score, doc in ranking]


@given(rows=ROWS, query=ROWS.map(lambda rows: rows[0] if rows else {}), k=st.integers(1, 50), data=st.data())
@pytest.mark.parametrize("fewest", [0, 64])
@fuzz
def test_search_equals_scoring_every_document(
    monkeypatch: pytest.MonkeyPatch,
    fewest: int,
    rows: list[dict[int, float]],
    query: dict[int, float],
    k: int,
    data: st.DataObject,
) -> None:
    # With 0, frequent terms of so few documents have columns too.
    monkeypatch.setattr(inverted, "_MAX_POSTINGS_WITHOUT_COLUMN", fewest)
    index = InvertedIndex.build(*csr(rows))
    alive = data.draw(st.none() | st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)).map(np.array))
    alive = None if alive is None else alive.astype(np.bool_)
    docs, scores = index.search(*csr([query])[1:], k, alive=alive)
    assert (docs.dtype, scores.dtype) == (np.int64, np.float32)
    assert list(zip(docs.tolist(), scores, strict=True)) == plain_search(index, query, alive)[:k]


@pytest.mark.parametrize("terms", [2, 8, 60])
def test_bounds_lose_no_document(storey: str, terms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if storey == "plain":
        pytest.skip("nothing is passed over without numba")
    monkeypatch.setattr(inverted, "_POSTINGS_PER_THREAD", 1000)  # so few documents would be searched on one thread
    documents, queries = zipf(70_000, 12, 0), zipf(30, terms, 1)
    index = InvertedIndex.build(*documents)
    assert len(index.frequent)
    alive = np.random.default_rng(2).random(len(index)) < 0.5
    owners = np.repeat(np.arange(len(index)), np.diff(documents[0]))
    for i, (start, end) in enumerate(pairwise(queries[0])):
        mask = alive if i % 2 else None
        docs, scores = index.search(queries[1][start:end], queries[2][start:end], 10, alive=mask, threads=1 + i % 3)
        sums = np.zeros(len(index), np.float32)
        for token, weight in zip(queries[1][start:end], queries[2][start:end], strict=True):
            own = documents[1] == token
            sums[owners[own]] += weight * documents[2][own]
        if mask is not None:
            sums[~mask] = 0
        order = np.lexsort((np.arange(len(sums)), -sums))[:10]
        assert docs.tolist() == order.tolist()
        assert scores.tolist() == sums[order].tolist()


def test_many_threads_find_what_one_finds() -> None:
    index = InvertedIndex.build(*zipf(5000, 20, 0))
    indptr, ids, weights = zipf(16, 10, 1)
    rows = [slice(a, b) for a, b in pairwise(indptr)]
    alone = [index.search(ids[row], weights[row], 5)[0].tolist() for row in rows]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda row: index.search(ids[row], weights[row], 5)[0].tolist(), rows * 20))
    assert together == alone * 20


def test_an_index_read_back_from_mapped_files_finds_the_same(tmp_path: Path) -> None:
    index = InvertedIndex.build(*zipf(2000, 20, 0))
    for name, array in index.arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {path.stem: np.load(path, mmap_mode="r") for path in tmp_path.glob("*.npy")}
    again = InvertedIndex.from_arrays(mapped)
    assert np.shares_memory(again.docs, mapped["docs"])
    _, ids, weights = zipf(1, 10, 1)
    assert again.search(ids, weights, 9)[0].tolist() == index.search(ids, weights, 9)[0].tolist()


# ---- bad input

GOOD = csr([{1: 1.0, 5: 2.0}, {2: 1.0}])


def spoilt(**changes: Any) -> Csr:
    indptr, indices, values = (x.copy() for x in GOOD)
    for name, value in changes.items():
        {"indptr": indptr, "indices": indices, "values": values}[name][1] = value
    return indptr, indices, values


@pytest.mark.parametrize(("rows", "words"), [
    (spoilt(indptr=9), "indptr must rise from 0 to 3"),
    ((GOOD[0][1:], *GOOD[1:]), "indptr must rise from 0 to 3"),
    (spoilt(indices=1), "sorted and unique in each row"),
    (spoilt(indices=0), "sorted and unique in each row"),
    (spoilt(values=np.nan), "NaN or infinity"),
    ((GOOD[0], GOOD[1].astype(np.int64), GOOD[2]), r"indices is int64 \(3,\), expected int32"),
    ((GOOD[0], GOOD[1][:2], GOOD[2]), "2 indices and 3 values"),
    ((GOOD[0], -GOOD[1][::-1].copy(), GOOD[2]), "must be >= 0"),
    ((GOOD[0].tolist(), *GOOD[1:]), "indptr is a list, expected a numpy array"),
])  # fmt: skip
def test_rows_that_are_not_csr_are_refused(rows: Any, words: str) -> None:
    for call in (
        lambda: sparse_dot(*GOOD, *rows),
        lambda: sparse_dot_rows(*rows, *GOOD),
        lambda: InvertedIndex.build(*rows),
    ):
        with pytest.raises(ValueError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("change", "words"), [
    ({"k": 0}, "k is 0"), ({"k": 1.5}, "k is 1.5"), ({"alive": np.ones(3, np.bool_)}, r"alive is bool \(3,\)"),
    ({"alive": np.ones(2, np.int8)}, "alive is int8"), ({"threads": 0}, "threads is 0"),
    ({"weights": np.array([np.inf], np.float32)}, "NaN or infinity"),
    ({"weights": np.array([-1], np.float32)}, "negative"), ({"ids": np.array([-1], np.int32)}, ">= 0"),
])  # fmt: skip
def test_a_search_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    good = {"ids": np.array([1], np.int32), "weights": np.ones(1, np.float32), "k": 3}
    with pytest.raises(ValueError, match=words):
        InvertedIndex.build(*GOOD).search(**good | change)


def test_rows_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="a has 2 rows and b 1"):
        sparse_dot_rows(*GOOD, *csr([{1: 1.0}]))


@given(exponent=st.floats(-44, 15), weight=st.floats(-44, 15), data=st.data())
@fuzz
def test_weights_of_any_size_find_the_best_document(exponent: float, weight: float, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(0, 1, width=32), min_size=70, max_size=90))
    rows = csr([{5: value * 10**exponent, 9: value} for value in values])
    ids, weights = csr([{5: 10**weight, 9: 10**-exponent if exponent > -15 else 1e15}])[1:]
    docs, scores = InvertedIndex.build(*rows).search(ids, weights, 3)
    sums = weights[0] * rows[2][::2] + weights[1] * rows[2][1::2]
    order = np.lexsort((np.arange(len(sums)), -sums))[:3]
    assert docs.tolist() == order[sums[order] > 0].tolist()
    assert scores.tolist() == sums[docs].tolist()


def test_weights_whose_sums_could_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match=r"documents values reach 1e\+16, expected at most 1e\+15"):
        InvertedIndex.build(*spoilt(values=1e16))
    with pytest.raises(ValueError, match=r"query values reach 3e\+38"):
        InvertedIndex.build(*GOOD).search(np.array([1], np.int32), np.array([3e38], np.float32), 1)


def test_negative_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        InvertedIndex.build(*spoilt(values=-1))


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    arrays = InvertedIndex.build(*GOOD).arrays()
    with pytest.raises(ValueError, match="lacks docs"):
        InvertedIndex.from_arrays({name: array for name, array in arrays.items() if name != "docs"})
    with pytest.raises(ValueError, match=r"impacts of the inverted index is \(2,\), expected \(3,\)"):
        InvertedIndex.from_arrays(arrays | {"impacts": arrays["impacts"][:2]})
