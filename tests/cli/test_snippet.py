"""Snippets of m3rt search: the words of the query are marked, around the place where most of the score is."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from m3rt.cli.parts.snippet import WIDTH, _matches, _start, snippet
from m3rt.values.printable import plain


def tokens(words: Sequence[str]) -> list[list[int]]:
    """A token for each word, by its first letter, and for each letter of a long one."""
    return [[0, *({ord(c) for c in word} if len(word) > 24 else {ord(word[0])}), 2] for word in words]


def shown(text: str, terms: dict[str, float]) -> str:
    return snippet(text, {ord(c): w for c, w in terms.items()}, tokens, chr, lambda word: f"[{word}]")


def test_a_snippet_marks_words_that_hold_a_term() -> None:
    assert shown("apples and bread are cheap", {"a": 1, "c": 2}) == "[apples] [and] bread [are] [cheap]"
    assert shown("nothing here", {"x": 1}) == "nothing here"
    assert shown("nothing here", {}) == "nothing here"
    assert shown("", {"x": 1}) == ""
    assert shown("長" * 20 + "い" * 20, {"い": 1}).count("[い]") == 20


def test_a_snippet_shows_where_most_of_the_score_is() -> None:
    text = f"{'filler words ' * 40}the zebra and yaks {'more of them ' * 40}a zoo"
    line = shown(text, {"z": 2, "y": 1})
    assert "[zebra] and [yaks]" in line
    assert line.startswith("… ")
    assert line.endswith(" …")
    assert len(line) <= WIDTH + 20
    assert shown("x " * 400, {"y": 1}).endswith(" …")


def test_a_text_cannot_move_the_cursor() -> None:
    assert plain("a\x1b[2Jb\r\nc\u202ed\x9b2J") == "a [2Jb  c d 2J"
    for joined in ("می\u200cخواهم", "👩\u200d👩\u200d👧"):
        assert plain(joined) == joined
    assert "\x1b" not in shown("evil \x1b[2J word", {"w": 1})


def test_a_snippet_of_a_long_text_takes_linear_time() -> None:
    calls = 0

    class Counted(dict[int, float]):
        def __getitem__(self, term: int) -> float:
            nonlocal calls
            calls += 1
            return super().__getitem__(term)

    text = "zebra yak " * 100_000
    snippet(text, Counted({ord("z"): 1.0, ord("y"): 2.0}), tokens, chr, str)
    assert calls < 4 * 2 * len(text) / 10
    looked = 0

    def piece(term: int) -> str:
        nonlocal looked
        looked += 1
        return chr(term)

    word = "".join(map(chr, range(0x4E00, 0x9000)))
    snippet(word, {ord(c): 1.0 for c in word}, tokens, piece, str)
    assert looked <= 32


@given(words=st.lists(st.sampled_from(["ant", "bee", "cow", "dog", "x", "yy"]), max_size=200))
def test_a_snippet_starts_where_the_sum_of_distinct_terms_is_largest(words: list[str]) -> None:
    terms = {ord("a"): 1.0, ord("b"): 2.0, ord("c"): 4.0}
    matches = sorted(_matches(" ".join(words), terms, tokens, chr))
    sums = [sum({m.term: terms[m.term] for m in matches[i:] if m.end - first.start <= WIDTH - 40}.values())
            for i, first in enumerate(matches)]  # fmt: skip
    expected = matches[sums.index(max(sums))].start if matches else 0
    assert _start(matches, terms) == expected
