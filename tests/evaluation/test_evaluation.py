"""Evaluation: data sets are read and their flaws reported; rankings, measures and intervals are held to plain loops."""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences
from corpus import Document, documents, embeddings
from extras import needs_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rt import InputError, M3Encoder
from m3rt.embeddings import WEIGHTS
from m3rt.evaluation import MODES, difference, evaluate, read_dataset, task
from m3rt.evaluation import views as views_module
from m3rt.evaluation.bm25 import bm25, words
from m3rt.evaluation.dataset import Dataset, Texts
from m3rt.evaluation.measures import measure
from m3rt.evaluation.pools import Task
from m3rt.evaluation.views import EmbeddedTask, embed
from m3rt.evaluation.weights import _GRID, tune

Rows = Sequence[Mapping[str, Any]]


def write(directory: Path, corpus: Rows, queries: Rows, qrels: str, file: str = "qrels.tsv") -> Path:
    for name, rows in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        (directory / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    (directory / file).parent.mkdir(exist_ok=True)
    (directory / file).write_text(qrels, "utf-8")
    return directory


def texts(values: Sequence[str], langs: Sequence[str | None] = (), groups: Sequence[str | None] = ()) -> Texts:
    none = (None,) * len(values)
    return Texts(tuple(f"t{i}" for i in range(len(values))), tuple(values), tuple(langs) or none, tuple(groups) or none)


def everything(data: Dataset) -> Task:
    return Task(data, (np.ones(len(data.corpus), np.bool_),) * len(data.queries))


CORPUS = [{"_id": "a", "title": "Tea", "text": "is hot"}, {"_id": "b", "title": "", "text": "Ice"}]
QUERIES = [{"_id": "q", "text": "hot?", "metadata": {}}, {"_id": "r", "text": "cold?"}]


def test_beir_and_plain_layouts_read_alike(tmp_path: Path) -> None:
    (tmp_path / "beir").mkdir()
    (tmp_path / "plain").mkdir()
    beir = write(
        tmp_path / "beir", CORPUS, QUERIES, "query-id\tcorpus-id\tscore\nq\ta\t1\nr\tb\t2\nr\ta\t0\n", "qrels/test.tsv"
    )
    (beir / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\tb\t1\n")
    plain = write(
        tmp_path / "plain", [{"id": "a", "text": "Tea is hot"}, {"id": "b", "text": "Ice"}],
        [{"id": "q", "text": "hot?"}, {"id": "r", "text": "cold?"}], "q\ta\t1\nr\t0\tb\t2\n",
    )  # fmt: skip
    notes: list[str] = []
    one, other = (read_dataset(path, warn=notes.append) for path in (beir, plain))
    assert (one.corpus, one.queries, one.relevant) == (other.corpus, other.queries, other.relevant)
    assert one.corpus.texts == ("Tea is hot", "Ice")
    assert one.relevant == ({0: 1}, {1: 2})
    assert notes == []
    assert read_dataset(beir, split="dev").relevant == ({1: 1},)


def test_flaws_are_reported_a_line_each_and_the_rest_is_kept(tmp_path: Path) -> None:
    corpus = [*CORPUS, {"_id": "a", "text": "again"}, {"_id": "void", "text": " "}]
    queries = [*QUERIES, {"_id": "lost", "text": "?"}, {"_id": "none", "text": "?"}]
    write(tmp_path, corpus, queries, "q\ta\t1\nq\tnowhere\t1\nnobody\ta\t1\nlost\tgone\t1\nr\tvoid\t1\n")
    notes: list[str] = []
    data = read_dataset(tmp_path, warn=notes.append)
    assert [note.removeprefix(str(tmp_path)).lstrip("/") for note in notes] == [
        "corpus.jsonl: 1 row, such as 'a', with an id of an earlier one; the first of each is kept",
        "corpus.jsonl: 1 document, such as 'void', empty; kept, as any ranking may return them",
        "qrels.tsv: 1 judgement, such as 'nobody', of an unknown query; left out",
        "qrels.tsv: 2 judgements, such as 'nowhere', of an unknown document; left out",
        ": 2 queries, such as 'lost', without a relevant document; left out",
    ]
    assert data.queries.ids == ("q", "r")
    assert data.corpus.texts == ("Tea is hot", "Ice", " ")
    assert data.relevant == ({0: 1}, {2: 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "corpus.jsonl").unlink(), "has no corpus.jsonl"),
        (lambda path: (path / "qrels.tsv").unlink(), "neither qrels.tsv nor qrels/test.tsv"),
        (
            lambda path: (path / "qrels.tsv").write_text("q a 1\n"),
            "line 1: 'q a 1', expected query, document and grade",
        ),
        (lambda path: (path / "qrels.tsv").write_text("q\ta\tinf\n"), "expected query, document and grade"),
        (lambda path: (path / "qrels.tsv").write_text("q\ta\t0\n"), "no query has a relevant document"),
        (lambda path: (path / "queries.jsonl").write_text('{"text": "?"}\n'), "query 1 has neither '_id' nor 'id'"),
        (lambda path: (path / "queries.jsonl").write_text('{"_id": "q"}\n'), "no 'text'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(change: Callable[[Path], Any], words: str, tmp_path: Path) -> None:
    change(write(tmp_path, CORPUS, QUERIES, "q\ta\t1\n"))
    with pytest.raises(InputError) as error:
        read_dataset(tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_split_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, CORPUS, QUERIES, "q\ta\t1\n", "qrels/dev.tsv")
    assert read_dataset(tmp_path).relevant == ({0: 1},)  # the only one
    (tmp_path / "qrels" / "train.tsv").touch()
    with pytest.raises(InputError, match=r"has dev\.tsv, train\.tsv, expected judgements of the split 'test'"):
        read_dataset(tmp_path)


GROUPED = Dataset(
    "grouped",
    texts(["a", "b", "c", "d"], ["de", "en", "fr", "en"], ["1", "1", "1", "2"]),
    texts(["x", "y", "z"], ["de", "en", "fr"], ["1", "2", None]),
    ({0: 1}, {3: 1}, {1: 1}),
)


def test_a_query_is_searched_in_its_language_unless_others_are_relevant() -> None:
    paired = task(GROUPED)
    assert [pool.tolist() for pool in paired.pools] == [
        [True, False, False, False],
        [False, True, False, True],
        [True, True, True, True],
    ]


def test_across_languages_the_group_is_relevant_and_its_own_language_no_candidate() -> None:
    notes: list[str] = []
    paired = task(GROUPED, among="others", warn=notes.append)
    assert paired.data.queries.ids == ("t0", "t2")  # group 2 is English alone
    assert paired.data.relevant == ({1: 1, 2: 1}, {1: 1})
    assert [pool.tolist() for pool in paired.pools] == [[False, True, True, True], [True, True, False, True]]
    assert notes == ["grouped: 1 query, such as 't1', without a relevant document in another language; left out"]
    with pytest.raises(InputError, match="leave --cross-lingual or --language-pairs out"):
        task(Dataset("one", texts(["a"], ["de"]), texts(["q"], ["de"]), ({0: 1},)), among="others")


def test_in_pairs_of_languages_a_query_is_searched_in_each_other_one_alone() -> None:
    paired = task(GROUPED, among="each")
    assert paired.data.queries.ids == ("t0", "t0", "t2")
    assert paired.data.relevant == ({1: 1}, {2: 1}, {1: 1})
    assert [pool.tolist() for pool in paired.pools] == [
        [False, True, False, True],
        [False, False, True, False],
        [False, True, False, True],
    ]


def test_drawn_queries_are_always_the_same() -> None:
    data = Dataset("many", texts(["a"]), texts([f"q{i}" for i in range(50)]), ({0: 1},) * 50)
    notes: list[str] = []
    one, other = (task(data, max_queries=7, warn=notes.append).data.queries.ids for _ in range(2))
    assert one == other
    assert len(set(one)) == 7
    assert notes[0] == "many: 7 of 50 queries, drawn with a fixed seed"


@needs_eval
@settings(max_examples=60)
@given(st.data())
def test_measures_are_their_definitions(data: st.DataObject) -> None:
    relevant = data.draw(st.lists(st.dictionaries(st.integers(0, 30), st.integers(1, 3), min_size=1), min_size=1))
    rankings = [data.draw(st.lists(st.integers(0, 30), unique=True)) for _ in relevant]
    values = measure(relevant, [np.array(ranking, np.int64) for ranking in rankings])
    for q, (grades, ranking) in enumerate(zip(relevant, rankings, strict=True)):
        gains = sum(grades.get(d, 0) / math.log2(place + 2) for place, d in enumerate(ranking[:10]))
        ideal = sum(g / math.log2(i + 2) for i, g in enumerate(sorted(grades.values(), reverse=True)[:10]))
        assert values["nDCG@10"][q] == pytest.approx(gains / ideal)
        assert values["Recall@100"][q] == pytest.approx(len({*ranking[:100]} & {*grades}) / len(grades))
        first = next((place for place, d in enumerate(ranking[:10], 1) if d in grades), None)
        assert values["MRR@10"][q] == pytest.approx(1 / first if first else 0)


def test_an_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(60):
        values = [random.normal(0.3, 1, 80), random.normal(0.5, 2, 120)]
        references = [np.zeros(80), np.zeros(120)]
        interval = difference(values, references, seed=seed)
        assert interval.low < interval.mean < interval.high
        assert interval.mean == pytest.approx((values[0].mean() + values[1].mean()) / 2)
        covered += interval.low <= 0.4 <= interval.high
    assert 50 <= covered <= 60  # of 60 at 95%: 57, give or take 1.7


def test_an_interval_of_many_queries_is_the_normal_distribution_s() -> None:
    gaps = np.random.default_rng(2).normal(0.1, 1, 2000)
    interval = difference([gaps], [np.zeros(2000)])
    half = 1.96 * gaps.std() / np.sqrt(2000)
    assert [interval.mean - interval.low, interval.high - interval.mean] == pytest.approx([half, half], rel=0.05)


def test_equal_rankings_differ_by_nothing() -> None:
    values = [np.array([0.1, 0.9, 0.5])]
    assert str(difference(values, values)) == "+0.0000 [+0.0000, +0.0000]"


def test_words_are_cut_where_a_script_has_no_spaces() -> None:
    assert words("Die STRASSE, ﬁn!") == ["die", "strasse", "fin"]
    assert words("東京 2024年") == ["東", "京", "東京", "2024", "年"]
    assert words("हिन्दी भाषा।") == ["हिन्दी", "भाषा"]  # vowel signs do not cut
    assert words("...") == []


def test_bm25_is_its_formula() -> None:
    bodies = ["cat sat mat", "cat cat dog", "dog", "", "the mat"]
    data = Dataset("tiny", texts(bodies), texts(["cat mat mat", "bird"]), ({0: 1}, {0: 1}))
    split = [body.split() for body in bodies]
    average = sum(len(body) or 1 for body in split) / len(split)  # an empty document counts as one word

    def score(query: str, body: list[str]) -> float:
        total = 0.0
        for term in query.split():
            holding = sum(term in other for other in split)
            idf = math.log(1 + (len(split) - holding + 0.5) / (holding + 0.5))
            frequency = body.count(term)
            total += idf * frequency / (frequency + 1.2 * (0.25 + 0.75 * (len(body) or 1) / average))
        return total

    scores = [score("cat mat mat", body) for body in split]
    expected = sorted((d for d in range(5) if scores[d] > 0), key=lambda d: -scores[d])
    rankings = bm25(everything(data))
    assert rankings[0].tolist() == expected
    assert rankings[1].tolist() == []


def plain(query: Document, docs: Sequence[Document]) -> dict[str, list[float]]:
    """Score each view by plain loops."""
    return {
        "dense": [float(query.dense @ doc.dense) for doc in docs],
        "sparse": [sum(w * doc.terms.get(t, 0.0) for t, w in query.terms.items()) for doc in docs],
        "colbert": [float((query.colbert @ doc.colbert.T).max(axis=1).mean()) for doc in docs],
    }


def ranked(mode: str, scores: Mapping[str, list[float]], pool: Sequence[bool]) -> list[int]:
    """Rank all documents in a mode by plain sorting."""
    views, fusion = MODES[mode].views, MODES[mode].fusion
    own = {
        view: sorted(
            (d for d, alive in enumerate(pool) if alive and (view != "sparse" or scores[view][d] > 0)),
            key=lambda d, view=view: (-scores[view][d], d),  # type: ignore[misc]
        )
        for view in views
    }
    if fusion == "none":
        return own[views[0]]
    if fusion == "rrf":
        ranked = {d for ranking in own.values() for d in ranking}
        return sorted(ranked, key=lambda d: (-sum(1 / (61 + r.index(d)) for r in own.values() if d in r), d))
    alive = [d for d, is_alive in enumerate(pool) if is_alive]
    return sorted(alive, key=lambda d: (-sum(WEIGHTS[v] * scores[v][d] for v in views), d))


def close(actual: Sequence[int], expected: Sequence[int], scores: Mapping[str, list[float]]) -> bool:
    """Whether two rankings differ only in the order of documents whose scores float32 cannot tell apart."""
    return [*actual] == [*expected] or (
        sorted(actual) == sorted(expected)
        and all(
            abs(scores[view][a] - scores[view][b]) < 1e-5
            for a, b in zip(actual, expected, strict=True)
            for view in scores
        )
    )


@pytest.mark.parametrize("block", [1, 1 << 24])
def test_every_mode_ranks_as_plain_loops_do(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module, "_SCORES_AT_A_TIME", block)  # queries one at a time, and all together
    docs, queries = documents(60, seed=1), documents(9, seed=2)
    embedded = EmbeddedTask(embeddings(queries), embeddings(docs))
    pools = [np.random.default_rng(i).random(60) < 0.7 for i in range(9)]
    checked = 0
    for query, scores, pool in zip(queries, embedded.each(), pools, strict=True):
        expected = plain(query, docs)
        for name, mode in MODES.items():
            assert close(mode.rank(scores, pool).tolist(), ranked(name, expected, pool.tolist()), expected), name
            checked += 1
    assert checked == 9 * len(MODES)


@pytest.fixture(scope="module")
def labelled() -> Task:
    """Make a task of thirty documents, with the beginnings of ten as queries."""
    bodies = sentences()[:30]
    data = Dataset("beginnings", texts(bodies), texts([b[: len(b) // 2] for b in bodies[::3]]),
                   tuple({i: 1} for i in range(0, 30, 3)))  # fmt: skip
    return everything(data)


def test_embedded_scores_are_the_encoder_s(labelled: Task, fp32: M3Encoder) -> None:
    data = labelled.data
    embedded = embed(fp32, labelled, lambda texts, tokens: None)
    pairs = [(query, text) for query, text in product(data.queries.texts, data.corpus.texts)]
    expected = fp32.compute_score(pairs)
    for q, scores in enumerate(embedded.each()):
        for view, values in scores.items():
            np.testing.assert_allclose(values, expected[view][30 * q : 30 * q + 30], rtol=3e-6, atol=2e-6)


def test_where_all_is_too_much_colbert_scores_the_best_of_the_others(
    labelled: Task, fp32: M3Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(embed(fp32, labelled, lambda texts, tokens: None).each())
    for name, value in (("_MAX_COLBERT_BYTES", 0), ("CANDIDATES", 7), ("_TEXTS_AT_A_TIME", 4)):
        monkeypatch.setattr(views_module, name, value)
    part = embed(fp32, labelled, lambda texts, tokens: None)
    assert part.corpus.multi is None
    for scores, exact, pool in zip(part.each(), whole, labelled.pools, strict=True):
        best = MODES["dense+sparse"].rank(exact, pool)[:7]
        assert sorted(np.flatnonzero(np.isfinite(scores["colbert"])).tolist()) == sorted(best.tolist())
        np.testing.assert_allclose(scores["colbert"][best], exact["colbert"][best], atol=1e-6)
        assert {*MODES["all"].rank(scores, pool).tolist()} == {*best.tolist()}


@needs_eval
def test_an_evaluation_is_the_measure_of_its_rankings(labelled: Task, fp32: M3Encoder) -> None:
    seen: list[int] = []
    result = evaluate(fp32, labelled, words=True, progress=lambda texts, tokens: seen.append(texts))
    assert sum(seen) == 40
    assert {*result.modes} == {*MODES, "bm25"}
    rankings = [MODES["all"].rank(scores, np.ones(30, np.bool_)) for scores in embed(fp32, labelled, print_not).each()]
    np.testing.assert_array_equal(result.modes["all"]["nDCG@10"], measure(labelled.data.relevant, rankings)["nDCG@10"])
    assert result.conditions["colbert"] == "all documents"
    assert json.loads(json.dumps(result.to_json()))["modes"]["all"]["nDCG@10"] == result.mean("all")


def print_not(texts: int, tokens: int) -> None:
    pass


@needs_eval
def test_languages_are_measured_apart(fp32: M3Encoder) -> None:
    bodies = sentences()[:6]
    langs = ["de", "de", "en", "en", "fr", None]
    data = Dataset("six", texts(bodies, langs), texts(bodies, langs), tuple({i: 1} for i in range(6)))
    evaluation = evaluate(fp32, task(data))
    per_query = evaluation.modes["dense"]["nDCG@10"]
    assert evaluation.by_language("dense") == {
        "": per_query[5], "de": per_query[:2].mean(), "en": per_query[2:4].mean(), "fr": per_query[4],
    }  # fmt: skip


@needs_eval
def test_tuned_weights_are_the_best_of_the_grid() -> None:
    random.seed(3)
    docs, queries = documents(40, seed=5), documents(12, seed=6)
    relevant = tuple({random.randrange(40): 1, random.randrange(40): 2} for _ in queries)
    data = Dataset("random", texts(["d"] * 40), texts(["q"] * 12), relevant)
    embedded = EmbeddedTask(embeddings(queries), embeddings(docs))
    weights, reached, default = tune(embedded, everything(data))

    def quality(sparse: float, colbert: float) -> float:
        total = 0.0
        for query, grades in zip(queries, relevant, strict=True):
            s = plain(query, docs)
            sums = [a + sparse * b + colbert * c for a, b, c in zip(*s.values(), strict=True)]
            order = sorted(range(40), key=lambda d: -sums[d])[:10]
            ideal = sum(g / math.log2(i + 2) for i, g in enumerate(sorted(grades.values(), reverse=True)))
            total += sum(grades.get(d, 0) / math.log2(i + 2) for i, d in enumerate(order)) / ideal
        return total / len(queries)

    best = max(quality(s, c) for s, c in product(_GRID, repeat=2))
    assert reached == pytest.approx(best)
    assert quality(weights["sparse"], weights["colbert"]) == pytest.approx(best)
    assert default == pytest.approx(quality(0.3, 1.0))


def test_a_dense_model_has_nothing_to_fuse(labelled: Task) -> None:
    docs = embeddings(documents(30))
    dense = type(docs)(docs.dense_vecs, None, None, docs.n_tokens, docs.truncated)
    with pytest.raises(InputError, match="this bundle is dense only"):
        tune(EmbeddedTask(dense, dense), labelled)


@needs_eval
def test_a_query_that_is_a_document_does_not_find_itself(fp32: M3Encoder, tmp_path: Path) -> None:
    bodies = sentences()[:6]
    rows = [{"_id": f"x{i}", "text": text} for i, text in enumerate(bodies)]
    write(tmp_path, rows, rows[:4], "".join(f"x{i}\tx{i + 1}\t1\n" for i in range(3)) + "x3\tx3\t1\n")
    notes: list[str] = []
    paired = task(read_dataset(tmp_path), warn=notes.append)
    assert [note.partition(": ")[2] for note in notes] == [
        "3 queries, such as 'x0', with the id of a document, left out of its own results as in BEIR"
    ]
    assert [np.flatnonzero(~mask).tolist() for mask in paired.candidates()] == [[0], [1], [2], []]  # x3 was judged
    rankings: list[list[int]] = [ranking.tolist() for ranking in bm25(paired)]
    for scores, mask in zip(embed(fp32, paired, print_not).each(), paired.candidates(), strict=True):
        rankings += [mode.rank(scores, mask).tolist() for mode in MODES.values()]
    assert len(rankings) == 4 + 4 * len(MODES)
    assert not any(0 in ranking for ranking in [rankings[0], *rankings[4 : 4 + len(MODES)]])
    # BEIR's rule, applied to whole rankings: the document with the query's id is taken out.
    whole = evaluate(fp32, Task(paired.data, paired.pools)).modes["dense"]["MRR@10"]
    assert evaluate(fp32, paired, words=True).modes["dense"]["MRR@10"].mean() > whole.mean()


QRELS = {
    "header": "query-id\tcorpus-id\tscore\nq\ta\t1\nr\tb\t2\n",
    "no header": "q\ta\t1\nr\tb\t2\n",
    "windows": "query-id\tcorpus-id\tscore\r\nq\ta\t1\r\nr\tb\t2\r\n",
    "byte order mark": "\ufeffquery-id\tcorpus-id\tscore\nq\ta\t1\nr\tb\t2\n",
    "trec by spaces": "q 0 a 1\nr 0 b 2\n",
    "trec by wide spaces": "q  Q0  a  1\nr  Q0  b  2\n\n",
    "trec by tabs": "q\t0\ta\t1\nr\t0\tb\t2\n",
    "negative is not relevant": "q\ta\t1\nr\tb\t2\nr\ta\t-2\nq\tb\t0\n",
    "whole numbers with a point": "q\ta\t1.0\nr\tb\t2.\n",
    "repeated rows": "q\ta\t1\nr\tb\t2\nq\ta\t1\n",
}


@pytest.mark.parametrize("form", QRELS)
def test_judgements_read_alike_in_every_form(form: str, tmp_path: Path) -> None:
    notes: list[str] = []
    data = read_dataset(write(tmp_path, CORPUS, QUERIES, QRELS[form]), warn=notes.append)
    assert data.relevant == ({0: 1}, {1: 2})
    assert notes == []


@pytest.mark.parametrize(
    "grade", ["0.5", ".5", "1e3", "inf", "nan", "9" * 400, "1000001", "-1000001", "one", "", "1,0", "٣"]
)
def test_a_grade_that_is_no_whole_number_in_bounds_is_refused(grade: str, tmp_path: Path) -> None:
    write(tmp_path, CORPUS, QUERIES, f"r\tb\t1\nq\ta\t{grade}\n")
    with pytest.raises(InputError, match=r"line 2: .*whole number up to 1,000,000; correct the line$") as error:
        read_dataset(tmp_path)
    assert len(str(error.value)) < 400


@needs_eval
def test_the_highest_grade_is_measured(tmp_path: Path) -> None:
    data = read_dataset(write(tmp_path, CORPUS, QUERIES, "q\ta\t1000000\nq\tb\t1\n"))
    assert measure(data.relevant, [np.array([0, 1])])["nDCG@10"].tolist() == [1.0]


def test_contradicting_judgements_are_reported_and_the_last_counts(tmp_path: Path) -> None:
    notes: list[str] = []
    data = read_dataset(
        write(tmp_path, CORPUS, QUERIES, "q\ta\t2\nq\ta\t1\nr\ta\t1\nr\ta\t0\nr\tb\t1\n"), warn=notes.append
    )
    assert data.relevant == ({0: 1}, {1: 1})
    assert [note.partition("qrels.tsv: ")[2] for note in notes] == [
        "2 judgements, such as 'q', with another grade than an earlier one of the same document; "
        "the last counts, as in BEIR"
    ]
