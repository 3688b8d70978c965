"""Signs of a large segment choose the rows that a dense search scores; small segments and exact=True do without."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from m3rt_kernels import quantize_int8

from m3rt import Embeddings, HybridIndex, HybridIndexError
from m3rt.cli import main
from m3rt.index.store import signs

DIM, ROWS, SIGNED_ROWS = 128, 6000, 3000
FILES = {"dense.sign_words.npy", "dense.sign_factors.npy", "dense.sign_center.npy"}
Array = np.ndarray[Any, Any]


def _vectors() -> Array:
    """Texts with neighbours and a common direction, as models give."""
    draw = np.random.default_rng(0)
    texts = draw.normal(size=(200, DIM))
    vectors = 1 + texts[np.arange(ROWS) % 200] + 0.7 * draw.normal(size=(ROWS, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = _vectors()
CODES, SCALES = quantize_int8(VECTORS)
STORED = CODES * SCALES[:, None]
QUERIES = VECTORS[:20] + 0.02 * np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "MIN_ROWS", SIGNED_ROWS)
    monkeypatch.setattr(signs, "MIN_CHOSEN", 64)
    monkeypatch.setattr(signs, "_MAX_SCORED", 100)


def embeddings(vectors: Array) -> Embeddings:
    n = len(vectors)
    return Embeddings(vectors, None, None, np.full(n, 3), np.zeros(n, np.bool_))


def made(path: Path, rows: int = ROWS, dense: str = "int8") -> HybridIndex:
    index = HybridIndex.create(path, dim=DIM, dense=dense, sparse=False)
    metadata = [{"third": i % 3, "rare": i % 150} for i in range(rows)]
    index.add(map(str, range(rows)), embeddings=embeddings(VECTORS[:rows]), metadata=metadata)
    return index


def found(index: HybridIndex, query: Array, **options: Any) -> list[int]:
    return [int(hit.id) for hit in index.search(embeddings(query[None]), 10, candidates=10, **options)]


def recall(index: HybridIndex, rows: Array, stored: Array = STORED, **options: Any) -> float:
    """The share of the ten best of `rows` that are found."""
    best = rows[np.argsort(-(QUERIES @ stored[rows].T), axis=1, kind="stable")[:, :10]]
    return float(
        np.mean([len({*found(index, q, **options)} & {*b}) / 10 for q, b in zip(QUERIES, best.tolist(), strict=True)])
    )


def named(path: Path) -> list[set[str]]:
    return [{*segment["files"]} for segment in json.loads((path / "index.json").read_text())["segments"]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signs, "MIN_ROWS", SIGNED_ROWS)
        return made(tmp_path_factory.mktemp("signs") / "index")


@pytest.mark.parametrize("dense", ["int8", "float32"])
def test_signs_choose_the_best_rows_and_scores_are_exact(dense: str, tmp_path: Path) -> None:
    index = made(tmp_path / "index", dense=dense)
    assert named(index.path)[0] >= FILES
    assert recall(index, np.arange(ROWS), VECTORS if dense == "float32" else STORED) >= 0.99
    for hit in index.search(embeddings(QUERIES[:1]), 10):
        assert hit.score == pytest.approx(VECTORS[int(hit.id)] @ QUERIES[0], abs=2e-3)


def test_signs_are_what_is_searched_unless_the_search_is_exact(index: HybridIndex) -> None:
    """Where signs place the best rows of a query far away, a search by signs misses them, and an exact one does not."""
    stored = index._snapshot.segments[0].arrays
    assert isinstance(stored, dict)
    factors = stored["dense.sign_factors"]
    hidden = factors.copy()
    hidden[np.argsort(-(QUERIES @ STORED.T), axis=1)[:, :10]] = 0
    stored["dense.sign_factors"] = hidden
    try:
        assert recall(index, np.arange(ROWS)) < 0.5
        assert recall(index, np.arange(ROWS), exact=True) >= 0.99
    finally:
        stored["dense.sign_factors"] = factors


def test_signs_of_other_rows_mislead_no_search(index: HybridIndex) -> None:
    stored = index._snapshot.segments[0].arrays
    assert isinstance(stored, dict)
    names = ("dense.sign_words", "dense.sign_factors", "dense.sign_offsets")
    kept, order = {name: stored[name] for name in names}, np.random.default_rng(0).permutation(ROWS)
    stored.update({name: array[order] for name, array in kept.items()})
    try:
        assert recall(index, np.arange(ROWS)) >= 0.99
    finally:
        stored.update(kept)


@pytest.mark.parametrize("dim", [64, 128])
def test_more_rows_are_scored_where_nothing_is_near_the_query(dim: int, tmp_path: Path) -> None:
    """Of independent vectors, many are almost as near as the tenth, whatever the dimensions."""
    draw, n = np.random.default_rng(2), 24_000
    vectors, queries = (draw.normal(size=(m, dim)).astype(np.float32) for m in (n, 30))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = HybridIndex.create(tmp_path / "index", dim=dim, dense="float32", sparse=False)
    index.add(map(str, range(n)), embeddings=embeddings(vectors))
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    shares = [len({*found(index, q)} & {*b}) / 10 for q, b in zip(queries, best.tolist(), strict=True)]
    assert np.mean(shares) >= 0.99


@pytest.mark.parametrize(("wanted", "every"), [({"third": 1}, 3), ({"rare": 1}, 150)])
def test_a_filter_leaves_the_best_of_its_rows(wanted: dict[str, int], every: int, index: HybridIndex) -> None:
    rows = np.arange(1, ROWS, every)
    assert recall(index, rows, filter=wanted) >= 0.99
    assert {i % every for q in QUERIES for i in found(index, q, filter=wanted)} == {1}


def test_deleted_rows_are_not_found(tmp_path: Path) -> None:
    index, odd = made(tmp_path / "index"), np.arange(ROWS) // 200 % 2 == 1  # half of each text's neighbours
    index.delete(map(str, np.flatnonzero(~odd)))
    assert recall(index, np.flatnonzero(odd)) >= 0.99
    assert all(odd[i] for q in QUERIES for i in found(index, q))
    index.delete(map(str, range(300, ROWS)))  # few are left
    assert recall(index, np.flatnonzero(odd[:300])) >= 0.99


def test_as_many_hits_as_rows_come_when_as_many_are_wanted(index: HybridIndex) -> None:
    assert len(index.search(embeddings(QUERIES[:1]), ROWS)) == ROWS
    assert len(index.search(embeddings(QUERIES[:1]), ROWS - 1, filter={"third": 0})) == ROWS // 3


def test_equal_vectors_come_in_one_order_however_many_are_wanted(tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", dim=DIM, sparse=False)
    index.add(map(str, range(ROWS)), embeddings=embeddings(np.repeat(VECTORS[:2], ROWS // 2, axis=0)))
    order = found(index, VECTORS[0], exact=True)
    assert found(index, VECTORS[0]) == order
    assert [int(hit.id) for hit in index.search(embeddings(VECTORS[:1]), 3)] == order[:3]


@pytest.mark.parametrize(("rows", "dense"), [(SIGNED_ROWS - 1, "int8"), (ROWS, "binary"), (255, "binary+int8")])
def test_small_segments_and_coarse_vectors_have_no_signs(rows: int, dense: str, tmp_path: Path) -> None:
    index = made(tmp_path / "index", rows, dense)
    assert not named(index.path)[0] & FILES
    assert index.info()["signed_rows"] == 0
    if dense != "binary":
        assert recall(index, np.arange(rows)) >= 0.99


def test_an_index_from_before_is_searched_exactly_and_compact_adds_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "MIN_ROWS", ROWS + 1)
    made(tmp_path / "index")
    monkeypatch.setattr(signs, "MIN_ROWS", SIGNED_ROWS)
    index = HybridIndex(tmp_path / "index")
    assert (named(index.path)[0] & FILES, index.info()["signed_rows"]) == (set(), 0)
    before = [found(index, query) for query in QUERIES]
    assert before == [found(index, query, exact=True) for query in QUERIES]
    index.compact()
    assert (named(index.path)[0] >= FILES, index.info()["signed_rows"]) == (True, ROWS)
    assert [found(index, query, exact=True) for query in QUERIES] == before
    commit = index.info()["commit"]
    index.compact()
    assert index.info()["commit"] == commit


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("harm", ["missing", "not named", "shorter"])
def test_damaged_signs_are_reported_and_never_followed(name: str, harm: str, tmp_path: Path) -> None:
    path = made(tmp_path / "index").path
    file, manifest = path / "segments" / "00000001" / name, json.loads((path / "index.json").read_text())
    files = manifest["segments"][0]["files"]
    if harm == "missing":
        file.unlink()
    elif harm == "not named":
        del files[name]
    else:
        np.save(file, np.load(file)[:-1])
        files[name]["size"] = file.stat().st_size
    (path / "index.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match=r"segment 00000001 is left out: [^\n]*(sign_|words, factors and center)"):
        assert len(HybridIndex(path)) == 0


@pytest.mark.parametrize("name", ["dense.sign_factors.npy", "dense.sign_center.npy"])
def test_signs_that_are_no_numbers_end_in_one_line(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / "index").path
    file = path / "segments" / "00000001" / name
    np.save(file, np.load(file) * np.nan)
    with pytest.raises(HybridIndexError, match=r"segment 00000001 is damaged: [^\n]*NaN[^\n]*$"):
        found(HybridIndex(path), QUERIES[0])


def test_the_command_line_tells_how_many_rows_have_signs(
    index: HybridIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "info", str(index.path)]) == 0
    assert f"{DIM} dimensions, int8, signs first for {ROWS:,} rows" in capsys.readouterr().out
