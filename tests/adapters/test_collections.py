"""Collections in real databases: what exact scoring finds, loads that resume, and what is refused by name."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from corpus import DIM, VOCABULARY, Document, documents, embeddings

from m3rt import InputError, M3Encoder, OutputError
from m3rt.adapters import Layout, Loaded, load
from m3rt.adapters.parts.collection import RRF_K
from m3rt.input import Record

DOCS = documents(500)
IDS = [f"doc-{i}" for i in range(len(DOCS))]
QUERIES = [query for query in documents(40, seed=7) if query.terms][:20]
SHARE = 0.99
WEIGHTS = {"dense": 1.0, "sparse": 0.3, "colbert": 1.0}


def layout(views: Sequence[str], dim: int = DIM) -> Layout:
    widths = {"dense": dim, "sparse": VOCABULARY, "colbert": dim}
    return Layout(**{view: widths[view] for view in views})


@pytest.fixture(scope="module")
def filled(database: Any, views: tuple[str, ...]) -> Any:
    """All documents; tests leave it unchanged."""
    collection = database(layout(views), "filled")
    metadata = [{"place": i} for i in range(len(DOCS))]
    collection.add(embeddings(DOCS), IDS, [f"text of {name}" for name in IDS], metadata)
    return collection


def exact(query: Document, view: str) -> dict[str, float]:
    """The score of every document, by plain loops; of sparse vectors only what shares a token."""
    if view == "dense":
        return {name: float(query.dense @ doc.dense) for name, doc in zip(IDS, DOCS, strict=True)}
    if view == "colbert":
        pairs = zip(IDS, DOCS, strict=True)
        return {name: float((query.colbert @ doc.colbert.T).max(axis=1).mean()) for name, doc in pairs}
    found = {}
    for name, doc in zip(IDS, DOCS, strict=True):
        if query.terms.keys() & doc.terms.keys():
            found[name] = sum(weight * doc.terms.get(term, 0.0) for term, weight in query.terms.items())
    return found


def best(scores: dict[str, float], k: int) -> list[str]:
    return sorted(scores, key=lambda name: -scores[name])[:k]


def hybrid(query: Document, engine: str, candidates: int) -> dict[str, float]:
    """The score of every candidate in what each engine says that its hybrid search is."""
    tops = {view: best(exact(query, view), candidates) for view in ("dense", "sparse")}
    if engine == "lance":
        scores = {view: exact(query, view) for view in WEIGHTS}
        return {n: sum(w * scores[v].get(n, 0.0) for v, w in WEIGHTS.items()) for n in tops["dense"]}
    found = [name for top in tops.values() for name in top]
    if engine != "milvus":
        scores = exact(query, "colbert")
        return {name: scores[name] for name in found}
    return {n: sum(1 / (RRF_K + 1 + top.index(n)) for top in tops.values() if n in top) for n in found}


def overlap(found: list[list[str]], wanted: list[list[str]]) -> float:
    shared = sum(len(set(a) & set(b)) for a, b in zip(found, wanted, strict=True))
    return shared / sum(map(len, wanted))


@pytest.mark.parametrize("mode", ["dense", "sparse", "colbert"])
def test_a_search_finds_what_exact_scoring_finds(filled: Any, views: tuple[str, ...], engine: str, mode: str) -> None:
    if mode not in views or (engine, mode) == ("lance", "sparse"):
        pytest.skip(f"{engine} does not search {mode} vectors")
    found = [[hit.id for hit in filled.search(embeddings([query]), 10, mode=mode)] for query in QUERIES]
    assert overlap(found, [best(exact(query, mode), 10) for query in QUERIES]) >= SHARE


def test_a_hybrid_search_is_the_fusion_that_is_documented(filled: Any, engine: str) -> None:
    good = 0
    for query in QUERIES:
        scores = hybrid(query, engine, 50)
        # Documents of one rank in two views are equal, so that any of them may be the tenth.
        tenth = scores[best(scores, 10)[-1]] - 1e-9
        hits = filled.search(embeddings([query]), 10, candidates=50)
        good += len({hit.id for hit in hits if scores.get(hit.id, -1.0) >= tenth})
    assert good >= SHARE * 10 * len(QUERIES)


def test_scores_follow_the_convention_that_is_documented(filled: Any, views: tuple[str, ...], engine: str) -> None:
    for query in QUERIES[:5]:
        for view in views:
            if (engine, view) == ("lance", "sparse"):
                continue
            tokens = len(query.colbert) if (engine, view) == ("qdrant", "colbert") else 1
            for hit in filled.search(embeddings([query]), 5, mode=view):
                assert hit.score == pytest.approx(tokens * exact(query, view)[hit.id], abs=1e-5)


def test_a_hit_brings_its_text_and_metadata(filled: Any) -> None:
    hit = filled.search(embeddings([DOCS[7]]), 1, mode="dense")[0]
    assert (hit.id, hit.text, hit.metadata) == ("doc-7", "text of doc-7", {"place": 7})


def test_a_document_with_an_id_that_is_there_is_replaced(open_collection: Any, views: tuple[str, ...]) -> None:
    collection = open_collection(layout(views))
    collection.add(embeddings(DOCS[:3]), ["a", "b", "c"], ["one", "two", "three"])
    collection.add(embeddings([DOCS[1]]), ["a"], ["changed"])
    hits = collection.search(embeddings([DOCS[1]]), 9, mode="dense")
    assert [hit.text for hit in hits if hit.id == "a"] == ["changed"]
    assert [{hit.id for hit in hits[:2]}, len(hits)] == [{"a", "b"}, 3]


def test_any_text_is_an_id(open_collection: Any, views: tuple[str, ...]) -> None:
    names = ["it's", 'a "quote"', "back\\slash", "東京", "1", "a, b", "%s", "7c1b6f0e-5a53-5d0c-9f0e-3d6c6d337274"]
    collection = open_collection(layout(views))
    collection.add(embeddings(DOCS[: len(names)]), names)
    assert collection.missing([*names, "not there"]) == ["not there"]
    assert [collection.search(embeddings([doc]), 1, mode="dense")[0].id for doc in DOCS[: len(names)]] == names


def test_a_text_without_weights_is_found_by_its_other_views(open_collection: Any, views: tuple[str, ...]) -> None:
    doc = next(doc for doc in DOCS if not doc.terms)
    collection = open_collection(layout(views))
    collection.add(embeddings([doc, DOCS[0]]), ["bare", "other"])
    assert collection.search(embeddings([doc]), 1, mode="dense")[0].id == "bare"
    assert "bare" in {hit.id for hit in collection.search(embeddings([doc]), 2)}


@pytest.mark.parametrize(("other", "line"), [(DIM + 1, f"width {DIM}"), (None, "sparse vectors")])
def test_a_collection_of_another_layout_is_refused_by_name(
    open_collection: Any, views: tuple[str, ...], other: int | None, line: str
) -> None:
    open_collection(layout(views))
    wanted = layout(views, other) if other else layout(["dense"])
    with pytest.raises(InputError, match=f"'docs_[0-9]+' exists with .*{line}"):
        open_collection(wanted)


def test_a_collection_that_is_there_is_opened_again(database: Any, views: tuple[str, ...], filled: Any) -> None:
    again = database(layout(views), "filled")
    assert again.missing([*IDS[:3], "new"]) == ["new"]


def test_embeddings_of_another_width_are_refused(open_collection: Any, views: tuple[str, ...]) -> None:
    collection = open_collection(layout(views, DIM * 2))
    with pytest.raises(InputError, match="dense vectors have shape"):
        collection.add(embeddings(DOCS[:1]), ["a"])


class Interrupted(Exception):
    """The database, or the process, ended."""


class Flaky:
    """A collection whose third add() writes and then fails: what a lost connection leaves."""

    def __init__(self, collection: Any) -> None:
        self._collection, self._adds = collection, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    def add(self, *arguments: Any) -> None:
        self._collection.add(*arguments)
        self._adds += 1
        if self._adds == 3:
            raise Interrupted("connection reset")


@pytest.fixture(scope="module")
def tiny() -> M3Encoder:
    return M3Encoder(threads=1)


def records(n: int) -> Iterator[Record]:
    words = ["tower", "river", "cake", "Tokyo", "metre", "apple", "night", "train"]
    random = np.random.default_rng(3)
    for i in range(n):
        yield Record(" ".join(random.choice(words, 4)) + f" {i}", f"id-{i}", {"even": i % 2 == 0})


def test_an_interrupted_load_goes_on_and_doubles_nothing(
    open_collection: Any, views: tuple[str, ...], tiny: M3Encoder
) -> None:
    options = {"colbert": "colbert" in views}
    collection = open_collection(Layout.of(tiny, **options))
    with pytest.raises(OutputError, match=r"docs_[0-9]+ failed after 16 documents .*connection reset.* goes on there"):
        load(Flaky(collection), tiny, records(50), batch=8)
    assert load(collection, tiny, records(50), batch=8) == Loaded(added=26, skipped=24)
    assert load(collection, tiny, records(50), batch=8) == Loaded(added=0, skipped=50)
    assert load(collection, tiny, []) == Loaded(added=0, skipped=0)
    assert load(collection, tiny, records(10), batch=8, replace=True) == Loaded(added=10, skipped=0)
    found = [
        hit.id
        for hit in collection.search(tiny.encode_queries("Tokyo", **collection.layout.keywords()), 100, mode="dense")
    ]
    assert sorted(found) == sorted(f"id-{i}" for i in range(50))


def test_a_text_without_an_id_is_refused(open_collection: Any, views: tuple[str, ...], tiny: M3Encoder) -> None:
    collection = open_collection(Layout.of(tiny))
    with pytest.raises(InputError, match="text 1 has no id"):
        load(collection, tiny, [Record("a", "a"), Record("b")])


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\nb", "x" * 300, 'say "x"', "a*b", 7, None])
def test_a_name_that_the_database_cannot_hold_is_refused_with_its_rule(
    database: Any, views: tuple[str, ...], engine: str, name: Any
) -> None:
    if engine == "qdrant" and name == "..":
        pytest.skip("Qdrant takes dots")
    with pytest.raises(InputError, match=r"name is .*, expected (1 to 255|letters|lower-case)") as caught:
        database(layout(views), name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["docs", "docs_2026"])
def test_a_plain_name_is_one_for_every_database(database: Any, views: tuple[str, ...], name: str) -> None:
    assert database(layout(views), name).name == name
