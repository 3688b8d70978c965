"""A context: the best chunks within a number of tokens, each character of a document once, in reading order."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences

from m3rt import HybridIndex, InputError, M3Encoder, SearchResult
from m3rt.index.context import Context, Passage, context

QUESTION = "word12 and word200"
LONG = " ".join(f"word{i} {sentences()[i % 40]}" for i in range(60))
TEXTS = {"long": LONG, "other": "; ".join(sentences()[20:32]), "short": sentences()[3], "copy": sentences()[3]}


@pytest.fixture(scope="module")
def index(fp32: M3Encoder, tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    path = tmp_path_factory.mktemp("index") / "index"
    index = HybridIndex.create(path, fp32, colbert="int8", chunk_tokens=64, chunk_overlap=16)
    index.add([*TEXTS], [*TEXTS.values()], metadata=[{"long": name == "long"} for name in TEXTS])
    return index


def length(encoder: M3Encoder, text: str) -> int:
    return int(encoder.tokenizer.encode([text], 1 << 20).lengths[0]) - 2


def chosen(result: SearchResult, limit: int, encoder: M3Encoder) -> dict[str, set[int]]:
    """The characters of each document, by one mark for each, of the chunks that fit one after the other."""
    marks: dict[str, set[int]] = {}
    texts: set[str] = set()
    for hit in result:
        assert hit.text is not None
        a, b = hit.span or (0, len(hit.text))
        more = {**marks, hit.id: marks.get(hit.id, set()) | {*range(a, b)}}
        if hit.text in texts:
            continue
        texts.add(hit.text)
        if sum(length(encoder, text) for text in rendered(more)) <= limit:
            marks = more
    return marks


def rendered(marks: dict[str, set[int]]) -> Iterator[str]:
    for name, characters in marks.items():
        for a, b in runs(characters):
            yield f"[{name}, characters {a}-{b}]\n{TEXTS[name][a:b]}"


def runs(characters: set[int]) -> list[tuple[int, int]]:
    marks = np.isin(np.arange(-1, max(characters) + 2), [*characters])
    edges = np.flatnonzero(np.diff(marks.astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("tokens", [40, 90, 200, 700, 20_000])
@pytest.mark.parametrize("options", [{}, {"mode": "sparse"}, {"filter": {"long": True}}, {"fusion": "rrf"}], ids=str)
def test_a_context_is_what_fits_of_the_best_chunks(
    index: HybridIndex, fp32: M3Encoder, tokens: int, options: dict[str, Any]
) -> None:
    hits = index.search(QUESTION, 30, chunks=True, **options)
    expected = [*rendered(chosen(hits, tokens, fp32))]
    if not expected:
        with pytest.raises(InputError, match=rf"none of \d+ chunks with its heading fits into {tokens} tokens"):
            context(index, QUESTION, tokens, **options)
        return
    found = context(index, QUESTION, tokens, **options)
    assert found.text == "\n\n".join(expected)
    assert found.tokens == length(fp32, found.text) <= tokens
    assert (found.left_out == 0) == (found.tokens == context(index, QUESTION, 1 << 20, **options).tokens)


def test_every_passage_is_cut_out_of_its_document_and_none_touches_another(index: HybridIndex) -> None:
    found = index.context(QUESTION, 1 << 20, k=200)
    assert all(p.text == TEXTS[p.id][slice(*p.span)] for p in found.passages)
    for one, other in pairwise(found.passages):
        assert one.id != other.id or one.span[1] < other.span[0]
    twins = {name for p in found.passages for name in p.also}
    best = dict.fromkeys(hit.id for hit in found.result if hit.id not in twins)
    assert [*dict.fromkeys(p.id for p in found.passages)] == [*best]
    # All chunks together are all words of the texts.
    assert " ".join(p.text for p in found.passages if p.id == "long").split() == LONG.split()


def test_chunks_are_hits_of_their_own_only_when_wanted(index: HybridIndex) -> None:
    chunks = index.search(QUESTION, 100, mode="dense", chunks=True)
    assert len({(hit.id, hit.span) for hit in chunks}) == len(chunks) > len(TEXTS)
    best = dict.fromkeys(hit.id for hit in chunks)
    documents = index.search(QUESTION, 100, mode="dense")
    assert [hit.id for hit in documents] == [*best]
    firsts = [next(hit for hit in chunks if hit.id == name) for name in best]
    assert [hit.span for hit in documents] == [hit.span for hit in firsts]


def test_a_text_of_two_documents_comes_once_and_names_both(index: HybridIndex) -> None:
    found = index.context(TEXTS["short"], 1 << 20)
    (passage,) = [p for p in found.passages if p.text == TEXTS["short"]]
    assert {passage.id, *passage.also} == {"short", "copy"}
    assert passage.score == max(hit.score for hit in found.result if hit.text == passage.text)
    assert found.to_json()["passages"][0]["id"] == found.passages[0].id


def test_a_copy_of_a_long_document_adds_nothing_but_its_id(fp32: M3Encoder, tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", fp32, chunk_tokens=32, chunk_overlap=8)
    index.add(["one", "two"], [TEXTS["other"]] * 2)
    found = index.context(QUESTION, 1 << 20, k=200)
    assert len({passage.id for passage in found.passages}) == 1
    assert {name for passage in found.passages for name in (passage.id, *passage.also)} == {"one", "two"}
    assert " ".join(passage.text for passage in found.passages).split() == TEXTS["other"].split()


def test_an_index_without_chunks_gives_whole_documents(fp32: M3Encoder, tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", fp32)
    index.add(["a", "void", "b\n2"], ["A ferry.", " ", "A ferry  leaves."])
    found = index.context("ferry", 64)
    assert {(p.id, p.span, p.text) for p in found.passages} == {
        ("a", (0, 8), "A ferry."), ("b\n2", (0, 16), "A ferry  leaves."),
    }  # fmt: skip
    assert "[b 2, characters 0-16]\nA ferry  leaves." in found.text


def test_nothing_found_is_an_empty_context(index: HybridIndex, fp32: M3Encoder) -> None:
    found = index.context(QUESTION, filter={"long": "perhaps"})
    assert (found.passages, found.text, found.tokens, found.left_out) == ((), "", 0, 0)


def test_what_has_no_context_is_one_line(index: HybridIndex, fp32: M3Encoder, tmp_path: Path) -> None:
    bare = HybridIndex.create(tmp_path / "bare", fp32)
    bare.add(["a"], embeddings=fp32.encode(["ferry"], return_sparse=True))
    for call, words in (
        (lambda: index.context(QUESTION, 31), r"tokens is 31, expected 32\.\."),
        (lambda: index.context(QUESTION, 3.5), "tokens is 3.5, expected a whole number"),  # type: ignore[arg-type]
        (lambda: index.context(None), "question is None, expected str"),  # type: ignore[arg-type]
        (lambda: index.context(" "), "is empty, expected words"),
        (lambda: index.context(QUESTION, k=0), r"k is 0, expected 1\.\."),
        (lambda: bare.context("ferry"), "document 'a' has no text to show; add it again with its text"),
        (lambda: index.search(QUESTION, chunks="no"), "chunks is 'no', expected True or False"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_headings_are_one_line_of_bounded_length() -> None:
    passage = Passage("x\n" * 1000, (0, 1), "a", 0.0, {})
    assert re.fullmatch(r"\[.{120}, characters 0-1\]\na", str(passage))
    assert Context("", (passage, passage), 0, 0, SearchResult((), {})).text == f"{passage}\n\n{passage}"
