"""HybridIndex.search: what plain loops over the documents find, in every mode, whatever the segments."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import DIM, Document, documents, embeddings, scores
from hypothesis import given
from hypothesis import strategies as st

from m3rt import HybridIndex, InputError, M3Encoder, SearchResult

DOCS = {f"doc-{i}": doc for i, doc in enumerate(documents(60))}
QUERIES = documents(12, seed=7)
TOLERANCE = 4e-3  # a query may be rounded to int8 too
LANGUAGES = ["de", "en", "sw"]


def metadata(i: int) -> dict[str, Any]:
    return {"lang": LANGUAGES[i % 3], "year": 2000 + i % 5, "even": i % 2 == 0}


def made(path: Path, docs: dict[str, Document] = DOCS, segments: int = 4, **settings: Any) -> HybridIndex:
    index = HybridIndex.create(path, dim=DIM, **{"colbert": "int8", **settings})
    names = list(docs)
    for part in np.array_split(np.arange(len(names)), segments):
        ids = [names[i] for i in part]
        index.add(
            ids,
            [f"text of {name}" for name in ids],
            embeddings=embeddings([docs[name] for name in ids]),
            metadata=[metadata(i) for i in part],
        )
    return index


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    return made(tmp_path_factory.mktemp("index") / "index")


def search(index: HybridIndex, query: Document, k: int = 10, **options: Any) -> SearchResult:
    return index.search(embeddings([query]), k, **options)


def expected(
    query: Document, value: Callable[[dict[str, float]], float], docs: dict[str, Document] = DOCS
) -> dict[str, float]:
    found = {name: value(scores(query, doc)) for name, doc in docs.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def agrees(result: SearchResult, wanted: dict[str, float], k: int) -> None:
    """The k best, in order, but for what lies within the tolerance of rounding."""
    best = list(wanted.values())[:k]
    assert len(result) == len(best)
    assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)
    np.testing.assert_allclose([hit.score for hit in result], best, atol=TOLERANCE)
    np.testing.assert_allclose([wanted[hit.id] for hit in result], best, atol=TOLERANCE)
    assert len({hit.id for hit in result}) == len(result)


@pytest.mark.parametrize("mode", ["dense", "colbert"])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_one_view_ranks_every_document_by_its_score(index: HybridIndex, mode: Any, k: int) -> None:
    for query in QUERIES:
        agrees(search(index, query, k, mode=mode), expected(query, lambda s: s[mode]), k)


def test_sparse_search_finds_only_documents_that_share_a_term(index: HybridIndex) -> None:
    for query in QUERIES:
        wanted = {name: score for name, score in expected(query, lambda s: s["sparse"]).items() if score > 0}
        agrees(search(index, query, 100, mode="sparse"), wanted, 100)


@pytest.mark.parametrize("weights", [(1, 0.3, 1), (0.4, 0.2, 0.4), (1, 0, 0), (0, 0, 1), (0, 1, 2)])
def test_weights_rank_by_the_weighted_mean_of_the_three_scores(
    index: HybridIndex, weights: tuple[float, float, float]
) -> None:
    def mean(s: dict[str, float]) -> float:
        return sum(w * s[view] for w, view in zip(weights, ("dense", "sparse", "colbert"), strict=True)) / sum(weights)

    for query in QUERIES:  # every document is a candidate
        agrees(search(index, query, fusion=weights, candidates=len(DOCS)), expected(query, mean), 10)


@pytest.mark.parametrize("scale", [1e-300, 7.0, 1e308])
def test_only_the_ratios_of_weights_count(scale: float, index: HybridIndex) -> None:
    one, scaled = (index.search(embeddings(QUERIES[:1]), 20, fusion=(s, 0.25 * s, 0.5 * s)) for s in (1.0, scale))
    assert [hit.id for hit in scaled] == [hit.id for hit in one]
    assert [hit.score for hit in scaled] == pytest.approx([hit.score for hit in one], rel=1e-12)


def test_without_reranking_colbert_has_no_say(index: HybridIndex) -> None:
    for query in QUERIES:
        result = search(index, query, rerank=False, candidates=len(DOCS))
        agrees(result, expected(query, lambda s: (s["dense"] + 0.3 * s["sparse"]) / 1.3), 10)
        assert all(set(hit.scores) == {"dense", "sparse"} for hit in result)


def test_rrf_adds_reciprocal_ranks(index: HybridIndex) -> None:
    for query in QUERIES:
        dense = [hit.id for hit in search(index, query, 60, mode="dense")]
        sparse = [hit.id for hit in search(index, query, 60, mode="sparse")]
        colbert = [hit.id for hit in search(index, query, 60, mode="colbert")]
        wanted = {
            name: sum(1 / (61 + ranks.index(name)) for ranks in (dense, sparse, colbert) if name in ranks)
            for name in DOCS
        }
        result = search(index, query, 60, fusion="rrf")
        assert {hit.id: pytest.approx(hit.score) for hit in result} == wanted


def test_only_candidates_of_dense_or_sparse_are_reranked(index: HybridIndex) -> None:
    for query in QUERIES:
        allowed = {hit.id for mode in ("dense", "sparse") for hit in search(index, query, 3, mode=mode)}
        for fusion in ("rrf", (1, 1, 1), (0, 0, 1)):
            result = search(index, query, 3, candidates=3, fusion=fusion)
            assert {hit.id for hit in result} <= allowed


def test_each_hit_has_the_score_of_every_view(index: HybridIndex) -> None:
    for query in QUERIES:
        for fusion in ("rrf", (1, 0.3, 1)):
            for hit in search(index, query, 20, candidates=30, fusion=fusion):
                for view, score in scores(query, DOCS[hit.id]).items():
                    assert hit.scores[view] == pytest.approx(score, abs=TOLERANCE)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse", "colbert"])
@pytest.mark.parametrize("wanted", [{"lang": "sw"}, {"year": 2003, "even": True}, {"year": "2003", "even": "true"}])
def test_a_filter_keeps_documents_with_all_of_its_values(index: HybridIndex, mode: Any, wanted: dict[str, Any]) -> None:
    keep = {
        name: doc
        for i, (name, doc) in enumerate(DOCS.items())
        if all(str(metadata(i)[field]).lower() == str(value).lower() for field, value in wanted.items())
    }
    for query in QUERIES:
        found = search(index, query, 60, mode=mode, filter=wanted)
        if mode in ("dense", "colbert"):
            agrees(found, expected(query, lambda s: s[mode], keep), 60)
        assert {hit.id for hit in found} <= keep.keys()


def test_a_filter_that_nothing_meets_gives_no_hits(index: HybridIndex) -> None:
    for mode in ("hybrid", "dense", "sparse", "colbert"):
        assert len(search(index, QUERIES[0], mode=mode, filter={"lang": "xx"})) == 0
    with pytest.raises(InputError, match="field 'language', which no document"):
        search(index, QUERIES[0], filter={"language": "de"})


def test_a_hit_shows_text_metadata_and_what_its_terms_add(index: HybridIndex) -> None:
    for query in QUERIES:
        for hit in search(index, query, explain=True):
            i = list(DOCS).index(hit.id)
            assert (hit.text, hit.metadata, hit.span) == (f"text of {hit.id}", metadata(i), None)
            shared = {t: w * DOCS[hit.id].terms[t] for t, w in query.terms.items() if t in DOCS[hit.id].terms}
            assert hit.terms == pytest.approx(shared)
            assert sum(hit.terms.values()) == pytest.approx(hit.scores["sparse"], abs=1e-6)


def test_segments_change_no_result(index: HybridIndex, tmp_path: Path) -> None:
    one = made(tmp_path / "one", segments=1)
    for query in QUERIES:
        for mode in ("hybrid", "dense", "sparse", "colbert"):
            first, second = search(index, query, mode=mode), search(one, query, mode=mode)
            assert [hit.id for hit in first] == [hit.id for hit in second]
            np.testing.assert_allclose([h.score for h in first], [h.score for h in second], rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "int8", "binary+int8"])
def test_the_best_match_is_found_at_every_dense_precision(precision: str, tmp_path: Path) -> None:
    index = made(tmp_path / "index", dense=precision, colbert=None)
    for query in QUERIES:
        best = search(index, query, 1, mode="dense")[0]
        top = next(iter(expected(query, lambda s: s["dense"]).values()))
        assert best.score == pytest.approx(top, abs=2 * TOLERANCE)


@pytest.mark.parametrize(
    ("view", "precision"), [("dense", "binary"), ("colbert", "binary"), ("colbert", "binary+int8")]
)
def test_a_document_is_what_matches_itself_best_by_its_signs(view: Any, precision: str, tmp_path: Path) -> None:
    index = made(tmp_path / "index", **{view: precision})
    for name, doc in DOCS.items():
        assert search(index, doc, 1, mode=view)[0].id == name


@pytest.mark.parametrize("stored", [{"dense": "int8"}, {"sparse": True}, {"colbert": "int8"}])
def test_hybrid_search_uses_what_is_stored(stored: dict[str, Any], tmp_path: Path) -> None:
    index = made(tmp_path / "index", **{"dense": None, "sparse": False, "colbert": None, **stored})
    (view,) = stored
    for query in QUERIES:
        one, hybrid = search(index, query, mode=view), search(index, query)
        assert [(h.id, h.score) for h in hybrid] == [(h.id, h.score) for h in one]


def test_many_threads_find_what_one_does(index: HybridIndex) -> None:
    wanted = [[hit.id for hit in search(index, query)] for query in QUERIES]
    wrong: list[int] = []

    def ask(i: int) -> None:
        for _ in range(20):
            wrong.extend({i} if [hit.id for hit in search(index, QUERIES[i])] != wanted[i] else ())

    threads = [threading.Thread(target=ask, args=(i % len(QUERIES),)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", dim=DIM, colbert="int8")
    assert len(index) == 0
    for mode in ("hybrid", "dense", "sparse", "colbert"):
        assert len(search(index, QUERIES[0], mode=mode)) == 0
    assert len(search(index, QUERIES[0], filter={"any": "thing"})) == 0


def test_texts_are_found_by_their_model(fp32: M3Encoder, bundle_int8: Path, tmp_path: Path) -> None:
    from checkpoints import sentences

    texts = sentences()[:40]
    ids = [f"s{i}" for i in range(40)]
    index = HybridIndex.create(tmp_path / "index", fp32, colbert="int8")
    assert index.add(ids, texts).documents == 40
    for i in range(0, 40, 7):
        result = index.search(texts[i])
        assert result[0].id == f"s{i}"
        score = fp32.compute_score((texts[i], texts[i]), weights_for_different_modes=(1, 0.3, 1))
        assert result[0].score == pytest.approx(score["colbert+sparse+dense"], abs=TOLERANCE)
        assert {"encode", "dense", "sparse", "fuse", "colbert", "read", "total"} <= result.seconds.keys()
    # The other precision of the same checkpoint may search; the recorded bundle is loaded when none is given.
    assert HybridIndex(tmp_path / "index", bundle_int8).search(texts[0])[0].id == "s0"
    batch = HybridIndex(tmp_path / "index").search_batch(texts[:5], 3, mode="dense")
    assert [result[0].id for result in batch] == ids[:5]


def test_without_numba_the_same_documents_are_found(index: HybridIndex) -> None:
    script = f"""
import sys
sys.modules["numba"] = None
sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from corpus import documents, embeddings
from m3rt import HybridIndex
index = HybridIndex({str(index.path)!r})
for query in documents(12, seed=7):
    found = [index.search(embeddings([query]), mode=mode) for mode in ("hybrid", "dense", "sparse", "colbert")]
    print(*(hit.id for result in found for hit in result))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modes = ("hybrid", "dense", "sparse", "colbert")
    wanted = [" ".join(hit.id for mode in modes for hit in search(index, query, mode=mode)) for query in QUERIES]
    assert done.stdout.splitlines() == wanted


# What each index stores and the weights that leave nothing of it.
EMPTY_HANDED = [
    ({"colbert": None}, {"fusion": (0, 0, 1)}, "dense and sparse"),
    ({"sparse": False}, {"fusion": (0, 1, 0)}, "dense and colbert"),
    ({"sparse": False, "colbert": None}, {"fusion": (0, 1, 1)}, "dense"),
    ({"dense": None}, {"fusion": (1, 0, 0)}, "sparse and colbert"),
    ({}, {"fusion": (0, 0, 1), "rerank": False}, "dense and sparse"),
]


@pytest.mark.parametrize(("stored", "options", "views"), EMPTY_HANDED)
def test_weights_that_leave_nothing_are_refused_with_what_there_is(
    stored: dict[str, Any], options: dict[str, Any], views: str, tmp_path: Path
) -> None:
    index = made(tmp_path / "index", dict(list(DOCS.items())[:8]), **stored)
    with pytest.raises(InputError, match=rf"this search has {views} only; give one of those a weight above 0"):
        search(index, QUERIES[0], **options)


@pytest.mark.parametrize("fusion", [(-1, 1, 1), (np.nan, 1, 1), (np.inf, 0, 0), (1, 1), (0, 0, 0), "dense", 1, None])
def test_weights_that_are_none_are_refused(fusion: Any, index: HybridIndex) -> None:
    with pytest.raises(InputError, match="expected 'rrf' or three weights"):
        search(index, QUERIES[0], fusion=fusion)


@pytest.mark.parametrize(
    "options", [{"mode": m} for m in ("dense", "sparse", "colbert", "hybrid")] + [{"fusion": "rrf"}]
)
@pytest.mark.parametrize("stored", [{}, {"dense": "binary", "colbert": "binary"}])
def test_equal_scores_keep_their_order_whatever_is_written(
    stored: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    twin = next(doc for doc in DOCS.values() if len(doc.terms) > 2)
    twins = {f"twin-{i}": twin for i in range(12)}
    index = made(tmp_path / "index", twins, segments=5, **stored)

    def order(k: int) -> list[str]:
        # Others may come between; here the twins' order counts.
        hits = search(index, twin, 200, **options)
        found = [hit.id for hit in hits if hit.id in twins]
        assert [hit.id for hit in search(index, twin, k, **options)] == [hit.id for hit in hits][:k]
        return found

    first = order(5)
    assert set(first) == set(twins)
    others = {f"other-{i}": doc for i, doc in enumerate(documents(6, seed=3)) if doc.terms != twin.terms}
    index.add(list(others), embeddings=embeddings(list(others.values())))
    assert order(5) == first
    index.add(["twin-3", "twin-7"], embeddings=embeddings([twin, twin]))  # replaced, and so in another segment
    assert order(5) == first
    index.delete(list(others)[:2])
    index.compact()
    assert order(5) == first


# A stored value, and what finds it: itself, its spellings in Python and JSON, and equal numbers.
SPELLINGS: list[tuple[Any, list[Any]]] = [
    (4.0, [4, 4.0, "4", "4.0", "4e0", "04"]),
    (4, [4, 4.0, "4", "4.0"]),
    ("4.0", [4.0, "4.0"]),
    (1e-7, [1e-7, "1e-7", "1e-07", "0.0000001"]),
    (2020, [2020, "2020", 2020.0, "2020.0"]),
    ("2020", [2020, "2020"]),
    (-0.0, [0, -0.0, "0", "-0.0"]),
    (10**30, [10**30, str(10**30)]),
    (1e22, [1e22, 10**22, "1e22", "1e+22"]),
    (True, [True, "true", "True"]),
    ("True", [True, "True"]),
    (None, [None, "null"]),
    ("é=x", ["é=x"]),
]
NOWHERE: list[Any] = [5, "4.5", "4.", 1e-8, "2021", False, "none", "1e999", "nan", float("nan"), float("inf"), ""]


def test_a_filter_finds_a_value_by_every_spelling_and_nothing_else(tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", dim=DIM, colbert="int8")
    names = [str(i) for i in range(len(SPELLINGS))]
    index.add(names, embeddings=embeddings(documents(len(names))), metadata=[{"v": value} for value, _ in SPELLINGS])
    query = QUERIES[0]
    for name, (value, spellings) in zip(names, SPELLINGS, strict=True):
        for spelling in spellings:
            found = {hit.id for hit in search(index, query, 50, mode="dense", filter={"v": spelling})}
            assert name in found, (value, spelling)
            assert all(
                SPELLINGS[int(i)][0] == value or str(SPELLINGS[int(i)][0]).startswith(str(value)[:1]) for i in found
            )
    for spelling in NOWHERE:
        assert not [hit for hit in search(index, query, 50, mode="dense", filter={"v": spelling}) if hit.id != "0"] or (
            spelling == "4."
        )


@given(
    value=st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(max_size=8))
)
def test_any_json_value_is_found_by_itself_its_json_and_its_repr(value: Any) -> None:
    from m3rt.index.store.facets import _spellings, _text, facet_key

    stored = facet_key("field", value)
    spelt = [value] if isinstance(value, str) else [value, json.dumps(value)]
    spelt += [repr(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []
    for spelling in spelt:
        keys = {facet_key("field", text) for text in _spellings(spelling)}
        assert stored in keys, (spelling, _text(value) if not isinstance(value, str) else value)


def test_several_values_of_a_field_find_documents_with_any(index: HybridIndex) -> None:
    hits = search(index, QUERIES[0], 100, mode="dense", filter={"lang": ["de", "en"], "even": True})
    assert {hit.metadata["lang"] for hit in hits} == {"de", "en"}
    assert len(hits) == sum(metadata(i)["lang"] != "sw" and metadata(i)["even"] for i in range(len(DOCS)))


@pytest.mark.parametrize("wanted", [{"lang": []}, {"lang": [["de"]]}, {"lang": {"de": 1}}, {"lang": [object()]}])
def test_filters_of_other_values_are_refused(wanted: Any, index: HybridIndex) -> None:
    with pytest.raises(
        InputError, match="expected a string, number, boolean or None, or a list of such for any of them"
    ):
        search(index, QUERIES[0], filter=wanted)


BLANK = [
    "",
    " \n",
    "\u200b",
    "\u200b\ufeff \u2060",
    "\u00ad",
    "\u3164",
    "\u200d",
    "\u0301",
    "\ufe0f",
    "\x00",
    "\U000e0041",
]


@pytest.mark.parametrize("query", BLANK, ids=ascii)
def test_a_query_in_which_nothing_is_seen_is_refused(query: str, tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index")
    index.add(["a", "blank"], ["a text", ""])
    with pytest.raises(InputError, match="query 0 is empty, expected words to search for"):
        index.search(query)
    with pytest.raises(InputError, match="query 1 is"):
        index.search_batch(["text", query])


def test_a_query_of_unknown_tokens_alone_is_refused(tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index")  # m3-tiny knows no Meitei
    index.add(["a"], ["a text"])
    with pytest.raises(InputError, match="of which the model knows no token; expected words"):
        index.search("ꯍꯥꯏ")
