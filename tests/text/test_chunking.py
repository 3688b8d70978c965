"""Chunks of a text: none is too long, every word is in one, and neighbours overlap."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from checkpoints import sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rt import InputError
from m3rt.bundle import Bundle, open_bundle
from m3rt.text.chunking import MIN_CHUNK_TOKENS, Chunker
from m3rt.text.clusters import joins
from m3rt.text.tokenizer import Tokenizer

# Words of one to a few tokens, and runs without spaces, which must be cut somewhere.
TEXTS = st.lists(
    st.sampled_from([*sentences(), "x", "word", "\n\n", "図" * 90, "https://example.org/" + "a/b-" * 30])
).map(" ".join)


@pytest.fixture(scope="module")
def bundle(bundle_fp32: Path) -> Path:
    return bundle_fp32


def chunker(bundle: Path, tokens: int = 32, overlap: int = 8) -> Chunker:
    return chunker_of(open_bundle(bundle), tokens, overlap)


def chunker_of(bundle: Bundle, tokens: int, overlap: int) -> Chunker:
    return Chunker.of(Tokenizer.of(bundle), bundle.manifest.max_tokens, tokens, overlap)


@pytest.mark.parametrize(("tokens", "overlap"), [(32, 0), (32, 8), (64, 32)])
def test_chunks_fit_cover_the_text_and_overlap(tokens: int, overlap: int, bundle: Path) -> None:
    cut = chunker(bundle, tokens, overlap)

    @given(text=TEXTS)
    def holds(text: str) -> None:
        spans = cut.spans(text)
        assert max(cut.lengths([text[a:b] for a, b in spans])) <= tokens
        assert all(a < b for a, b in spans) or text == ""
        for (a, b), (c, d) in itertools.pairwise(spans):
            assert a < c
            assert b < d  # every chunk adds something
            assert c <= b or not text[b:c].strip()  # only spaces lie between them
            if c < b:
                assert cut.lengths([text[c:b]])[0] - 2 <= overlap + 1  # a cut word may have one token more in one piece
        assert not text[: spans[0][0]].strip()
        assert not text[spans[-1][1] :].strip()

    holds()


def test_overlap_is_used_where_words_allow_it(bundle: Path) -> None:
    cut = chunker(bundle, 64, 16)
    text = " ".join(sentences()[:20])
    spans = cut.spans(text)
    shared = cut.lengths([text[c:b] for (_, b), (c, _) in itertools.pairwise(spans)])
    assert len(spans) > 5
    assert sum(shared) / len(shared) > 10


def test_words_of_a_spaced_script_are_never_cut(bundle: Path) -> None:
    text = " ".join(s for s in sentences() if s.isascii())
    words = set(text.split())
    for a, b in chunker(bundle).spans(text):
        assert set(text[a:b].split()) <= words


def test_a_text_that_fits_is_one_chunk_as_it_is(bundle: Path) -> None:
    for text in ("", " ", "one word", "  spaces around  "):
        assert chunker(bundle).spans(text) == [(0, len(text))]


@given(st.lists(st.integers(1, 24), min_size=8, max_size=60), st.integers(32, 48), st.data())
def test_every_chunk_holds_something_new(words: list[int], tokens: int, data: st.DataObject) -> None:
    cut = Chunker(lambda texts: [len("".join(t.split())) + 2 for t in texts], tokens, data.draw(st.integers(0, 16)))
    spans = cut.spans(" ".join("x" * length for length in words))  # a character is a token
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(spans))


@pytest.mark.parametrize(("tokens", "overlap"), [(31, 0), (129, 8), (32, 17), (32, -1)])
def test_numbers_that_do_not_fit_are_refused(tokens: int, overlap: int, bundle: Path) -> None:
    with pytest.raises(InputError, match=r"chunk_(tokens|overlap) is -?\d+, expected"):
        chunker(bundle, tokens, overlap)


NASTY = ["e\u0301", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "\u1100\u1161\u11a8", "❤\ufe0f",
         "🏴\U000e0067\U000e0062\U000e007f",
         "น\u0e33", "ກ\u0eb3", "ｶ\uff9e", "ﾊ\uff9f",
         "ﷺ", "क्षि", "x", "漢", "𒀀", "\u0e01\u0e33", " ", "\n", " \u0301a", "Z\u0351\u0310\u0489"]  # fmt: skip


@settings(max_examples=60)
@given(parts=st.lists(st.sampled_from(NASTY), min_size=1, max_size=400), tokens=st.integers(MIN_CHUNK_TOKENS, 64))
def test_chunks_of_any_characters_fit_and_tear_none_of_them(parts: list[str], tokens: int) -> None:
    cut, text = chunker_of(open_bundle(), tokens, 4), "".join(parts)
    spans = cut.spans(text)
    assert max(cut.lengths([text[a:b] for a, b in spans])) <= tokens
    covered = {i for a, b in spans for i in range(a, b)}
    assert covered >= {i for i, c in enumerate(text) if not c.isspace()}
    for a, b in spans:
        assert a == 0 or not joins(text, a), text[a - 1 : a + 2]
        assert b == len(text) or not joins(text, b), text[b - 1 : b + 2]


def test_one_character_of_more_tokens_than_a_chunk_is_cut_inside() -> None:
    cut, text = chunker_of(open_bundle(), MIN_CHUNK_TOKENS, 0), "a" + "\u0301\u0310" * 400
    spans = cut.spans(text)
    assert max(cut.lengths([text[a:b] for a, b in spans])) <= MIN_CHUNK_TOKENS
    assert {i for a, b in spans for i in range(a, b)} == set(range(len(text)))


@pytest.mark.parametrize(("text", "whole"), [(text, True) for text in NASTY[:11]] + [("ab", False), ("한국", False)])
def test_what_readers_see_as_one_character_is_one(text: str, whole: bool) -> None:
    assert all(joins(text, i) for i in range(1, len(text))) == whole


def test_two_flags_are_two_characters() -> None:
    assert [joins("🇩🇪🇫🇷", i) for i in (1, 2, 3)] == [True, False, True]


@pytest.mark.parametrize(
    "text", ["a" + "\u0301" * 40_000, "👩\u200d" * 20_000, "x" + "é" * 40_000 + "y", "กำ" * 20_000]
)
def test_a_text_without_a_place_to_cut_takes_few_passes(text: str) -> None:
    cut, passes = chunker_of(open_bundle(), 64, 8), []

    def counted(texts: Sequence[str]) -> list[int]:
        passes.append(len(texts))
        return cut.lengths(texts)

    spans = Chunker(counted, 64, 8).spans(text)
    assert len(passes) <= 8
    assert max(cut.lengths([text[a:b] for a, b in spans])) <= 64
    assert {i for a, b in spans for i in range(a, b)} == set(range(len(text)))
