"""Dense bits: around the center of an index's first rows, or around 0 in segments from before there was a center."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_kernels import pack_bits, quantize_centred, quantize_int8

from m3rt import Embeddings, HybridIndex, HybridIndexError
from m3rt.index.store import signs
from m3rt.index.store.precisions.centred import center_of

DIM, ROWS = 128, 1200
Array = np.ndarray[Any, Any]


def one_way(seed: int, n: int, shared: float = 2.0) -> Array:
    """Unit vectors that have much in common, as those of multilingual-e5-small have, and neighbours."""
    texts = np.random.default_rng(7).normal(size=(1 + 60, DIM))
    draw = np.random.default_rng(seed)
    vectors = shared * np.sign(texts[0]) + texts[1 + draw.integers(0, 60, n)] + 0.7 * draw.normal(size=(n, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = one_way(0, ROWS), one_way(1, 20)


def embeddings(vectors: Array) -> Embeddings:
    n = len(vectors)
    return Embeddings(vectors, None, None, np.full(n, 3), np.zeros(n, np.bool_))


def made(path: Path, dense: str, parts: tuple[int, ...] = (0, ROWS)) -> HybridIndex:
    index = HybridIndex.create(path, dim=DIM, dense=dense, sparse=False)
    for begin, end in pairwise(parts):
        index.add(map(str, range(begin, end)), embeddings=embeddings(VECTORS[begin:end]))
    return index


def scores(index: HybridIndex, query: Array, k: int = ROWS) -> dict[int, float]:
    return {int(hit.id): hit.score for hit in index.search(embeddings(query[None]), k, candidates=k)}


def around(center: Array, query: Array, vectors: Array) -> Array:
    """The estimates by signs around a center, in float64."""
    rest = vectors.astype(float) - center
    factors = (rest**2).sum(axis=1) / np.abs(rest).sum(axis=1)
    return np.asarray(vectors @ center.astype(float) + factors * (np.where(rest >= 0, 1, -1) @ (query - center))) + (
        query @ center - center @ center
    )


def around_zero(query: Array, vectors: Array) -> Array:
    return np.asarray(np.where(vectors >= 0, 1, -1) @ query.astype(float) / np.sqrt(DIM))


def shares(found: list[list[int]], vectors: Array = VECTORS) -> float:
    """The share of each query's ten best that were found."""
    best = np.argsort(-(QUERIES @ vectors.T), axis=1)[:, :10]
    return float(np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, best.tolist(), strict=True)]))


def segment(index: HybridIndex) -> Path:
    (folder,) = (index.path / "segments").iterdir()
    return folder


def from_before(index: HybridIndex, bits: Array, left_out: set[str]) -> HybridIndex:
    """The same index as an earlier m3rt wrote it: with these bits, and without files of names that it did not know."""
    manifest = json.loads((index.path / "index.json").read_text())
    files = manifest["segments"][0]["files"]
    for name in left_out & {*files}:
        (segment(index) / name).unlink()
        del files[name]
    file = segment(index) / "dense.bits.npy"
    np.save(file, bits)
    files[file.name] = {"size": file.stat().st_size, "sha256": sha256(file.read_bytes()).hexdigest()}
    (index.path / "index.json").write_text(json.dumps(manifest))
    return HybridIndex(index.path)


CENTRED = {"dense.center.npy", "dense.factors.npy", "dense.offsets.npy"}


@given(n=st.integers(1, 50), dim=st.sampled_from([8, 64, 200]), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_factors_and_offsets_are_those_of_the_formula(n: int, dim: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    vectors, query = (draw.normal(size=shape).astype(np.float32) for shape in ((n, dim), dim))
    center = draw.normal(size=dim).astype(np.float32)
    bits, factors, offsets = quantize_centred(vectors, center)
    plain = np.unpackbits(bits, axis=1, bitorder="little") * 2.0 - 1
    np.testing.assert_array_equal(plain, np.where(vectors - center >= 0, 1, -1))
    found = query @ center + offsets + factors * (plain @ query)
    np.testing.assert_allclose(found, around(center, query, vectors), rtol=1e-4, atol=1e-3 * np.sqrt(dim))


@pytest.mark.parametrize(("vectors", "center"), [
    (np.ones((3, 8), np.float32), np.ones(16, np.float32)), (np.ones((3, 8), np.float32), np.ones(8)),
    (np.full((3, 8), np.nan, np.float32), np.ones(8, np.float32)),
    (np.ones((3, 9), np.float32), np.ones(9, np.float32)),
])  # fmt: skip
def test_a_center_that_does_not_fit_and_vectors_without_bits_are_refused(vectors: Array, center: Array) -> None:
    with pytest.raises(ValueError, match="expected"):
        quantize_centred(vectors, center)


def test_a_center_is_what_most_of_each_vector_is_and_never_what_one_of_them_is() -> None:
    assert not center_of(VECTORS[:1]).any()
    assert not center_of(VECTORS[:0]).any()
    chance = np.random.default_rng(0).normal(size=(200, 2, DIM)).astype(np.float32)
    chance /= np.linalg.norm(chance, axis=2, keepdims=True)
    assert not any(center_of(vectors).any() for vectors in chance)  # though the mean has half of their squared length
    np.testing.assert_allclose(center_of(VECTORS), VECTORS.mean(axis=0), atol=1e-6)
    assert not center_of(one_way(0, ROWS, shared=0.5)).any()


def test_scores_of_bits_are_the_estimates_around_the_first_rows_center(tmp_path: Path) -> None:
    index = made(tmp_path / "index", "binary", (0, 100, 700, ROWS))
    center = center_of(VECTORS[:100])
    for compacted in (False, True):
        for query in QUERIES[:3]:
            found = scores(index, query)
            np.testing.assert_allclose([found[i] for i in range(ROWS)], around(center, query, VECTORS), atol=1e-4)
        assert compacted or index.compact() is None


def test_bits_rank_vectors_that_point_one_way(tmp_path: Path) -> None:
    index = made(tmp_path / "index", "binary")
    plain = [np.argsort(-around_zero(query, VECTORS))[:40].tolist() for query in QUERIES]
    assert shares(plain) < 0.8
    assert shares([list(scores(index, query, 40)) for query in QUERIES]) >= 0.95


def test_bits_come_back_as_vectors_that_score_as_they_do(tmp_path: Path) -> None:
    index = made(tmp_path / "index", "binary")
    (part,) = index.stored(ROWS)
    vectors = part.embeddings(range(ROWS)).dense_vecs
    assert vectors is not None
    for query in QUERIES:
        found = scores(index, query)
        np.testing.assert_allclose(vectors @ query, [found[int(row.id)] for row in part.rows], atol=0.02)


def test_bits_from_before_there_was_a_center_keep_their_scores_and_take_new_rows(tmp_path: Path) -> None:
    index = from_before(made(tmp_path / "index", "binary", (0, 700)), pack_bits(VECTORS[:700]), CENTRED)
    index.add(map(str, range(700, ROWS)), embeddings=embeddings(VECTORS[700:]))
    for compacted in (False, True):
        for query in QUERIES[:3]:
            found = scores(index, query)
            np.testing.assert_allclose([found[i] for i in range(ROWS)], around_zero(query, VECTORS), atol=1e-5)
        assert compacted or index.compact() is None


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_codes_that_signs_choose_lose_nothing_to_int8(
    shared: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the rows are scored where a 1,000th of a large segment is, and all where these do not suffice."""
    monkeypatch.setattr(signs, "MIN_CHOSEN", 80)
    vectors = one_way(3, 4000, shared)
    index = HybridIndex.create(tmp_path / "index", dim=DIM, dense="binary+int8", sparse=False)
    index.add(map(str, range(4000)), embeddings=embeddings(vectors))
    assert index.info()["signed_rows"] == 4000
    assert shares([list(scores(index, query, 10)) for query in QUERIES], vectors) >= 0.97


def test_codes_with_bits_from_before_are_searched_as_before_until_they_are_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "MIN_CHOSEN", 80)
    derived = {f"dense.{name}.npy" for name in ("sign_words", "sign_factors", "sign_center", "sign_offsets")}
    index = from_before(made(tmp_path / "index", "binary+int8"), pack_bits(VECTORS), derived)
    codes, scales = quantize_int8(VECTORS)
    for query in QUERIES:
        rows = np.argsort(-around_zero(query, VECTORS), kind="stable")[: 8 * (10 + 1)]  # one more shows equal scores
        best = rows[np.argsort(-(codes[rows] * scales[rows, None]) @ query, kind="stable")[:10]]
        assert list(scores(index, query, 10)) == best.tolist()
    before = shares([list(scores(index, query, 10)) for query in QUERIES])
    index.compact()
    assert {file.name for file in segment(index).iterdir()} >= derived
    assert not (segment(index) / "dense.bits.npy").exists()
    assert shares([list(scores(index, query, 10)) for query in QUERIES]) >= max(0.97, before)


@pytest.mark.parametrize("dense", ["binary", "binary+int8"])
def test_bits_of_another_shape_are_reported_and_never_followed(dense: str, tmp_path: Path) -> None:
    index = made(tmp_path / "index", dense)
    with pytest.warns(UserWarning, match=r"segment 00000001 is left out: [^\n]*dense.bits.npy"):
        assert len(from_before(index, pack_bits(VECTORS)[:-1], set())) == 0


@pytest.mark.parametrize("name", sorted(CENTRED))
def test_a_center_that_is_damaged_is_reported_and_never_followed(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / "index", "binary").path
    file = path / "segments" / "00000001" / name
    np.save(file, np.load(file) * np.nan)
    with pytest.raises(HybridIndexError, match=r"segment 00000001 is damaged: [^\n]*NaN[^\n]*$"):
        scores(HybridIndex(path), QUERIES[0])
    file.unlink()
    with pytest.warns(UserWarning, match="segment 00000001 is left out"):
        assert len(HybridIndex(path)) == 0
