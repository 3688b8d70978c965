"""context(): the chunks that answer a question best, within a number of tokens, as a text for a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import InputError, one_line
from ..values.arguments import whole_number
from ..values.counts import counted
from ..values.shown import shown
from .search.result import Hit, SearchResult

if TYPE_CHECKING:
    from ..text.tokenizer import Tokenizer
    from .hybrid import HybridIndex

CHUNKS = 30  # that a search finds for a context
_MIN_TOKENS, _MAX_TOKENS = 32, 1 << 20  # of a context
_ID_CHARACTERS = 120  # characters of an id that a heading shows


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of the document `id`: its characters span[0] to span[1], which are `text`.

    score: of its best chunk. metadata: the document's. also: the ids of other documents with a chunk of the same text.
    """

    id: str
    span: tuple[int, int]
    text: str
    score: float
    metadata: Mapping[str, Any]
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The text below a heading that names document and characters."""
        return f"[{one_line(self.id, _ID_CHARACTERS)}, characters {self.span[0]}-{self.span[1]}]\n{self.text}"


@dataclass(frozen=True, slots=True)
class Context:
    """Passages in reading order, and how they were chosen.

    tokens: of `text`, headings counted, special tokens not. left_out: texts of chunks that were found and did
    not fit. result: the search, whose hits are the chunks, best first.
    """

    question: str
    passages: tuple[Passage, ...]
    tokens: int
    left_out: int
    result: SearchResult

    @property
    def text(self) -> str:
        """The passages below their headings, an empty line between two of them."""
        return "\n\n".join(map(str, self.passages))

    def to_json(self) -> dict[str, Any]:
        """The context as plain values, the seconds of each stage included."""
        return {
            "question": self.question,
            "passages": [asdict(passage) for passage in self.passages],
            "tokens": self.tokens,
            "left_out": self.left_out,
            "text": self.text,
            "seconds": dict(self.result.seconds),
        }


def context(index: HybridIndex, question: str, tokens: int = 2000, *, k: int = CHUNKS, **options: Any) -> Context:
    """The best chunks for a question that fit into `tokens` tokens, in the order in which a person would read them.

    tokens: from 32; counted by the tokenizer of the index's model, headings included, special tokens not. k: chunks
    that are considered, best first; one that does not fit any more is left out, and a later one may fit. options:
    search()'s mode, fusion, candidates, filter, rerank, rerank_candidates.
    Documents come in the order of their best chunk, their passages in the order of the text. No character of a document
    comes twice: chunks that overlap or touch are joined, and of chunks with the same text, spaces aside, the best one
    counts. An index that was made without chunk_tokens has one chunk a document: all of its text.
    A context is empty when nothing is found. Raises InputError for an index without a model or without texts, when not
    even one chunk fits, and as search() does.

    >>> found = context(index, "How tall is Tokyo Tower?", 500)    # doctest: +SKIP
    >>> print(found.text)                                          # doctest: +SKIP
    [tower, characters 0-31]
    Tokyo Tower is 333 metres high.
    """
    if not isinstance(question, str):
        raise InputError(f"question is {shown(question)}, expected str")
    tokens = whole_number("tokens", tokens, _MIN_TOKENS, _MAX_TOKENS)
    result = index.search(question, k, chunks=True, **options)
    selection = _Selection(tokens, _counter(index.encoder.tokenizer, tokens))
    for twins in _by_text(result):
        selection.offer(twins)
    if selection.left_out and not selection.tokens:
        raise InputError(
            f"none of {counted(len(result), 'chunk')} with its heading fits into {counted(tokens, 'token')}; "
            "give more tokens, or build the index with smaller chunks (chunk_tokens)"
        )
    return Context(question, selection.passages(), selection.tokens, selection.left_out, result)


class _Selection:
    """The passages that were taken so far, those of a document apart from each other and in order."""

    def __init__(self, limit: int, count: Callable[[str], int]) -> None:
        self.tokens = self.left_out = 0
        self._limit, self._count = limit, count
        self._documents: dict[str, list[Passage]] = {}

    def passages(self) -> tuple[Passage, ...]:
        return tuple(passage for passages in self._documents.values() for passage in passages)

    def offer(self, twins: Sequence[Passage]) -> None:
        """Take one of the passages, which have the same text, if it fits; the best first."""
        # Of a document and its copy the same one is taken every time, so that its passages can be joined.
        taken = next((twin for twin in twins if twin.id in self._documents), twins[0])
        others = _distinct(*(twin.id for twin in twins if twin.id != taken.id))
        before = self._documents.get(taken.id, [])
        after = _joined(before, replace(taken, score=twins[0].score, also=others))
        tokens = self.tokens + self._cost(after) - self._cost(before)
        if tokens > self._limit:
            self.left_out += 1
        else:
            self.tokens, self._documents[taken.id] = tokens, after

    def _cost(self, passages: Sequence[Passage]) -> int:
        # Words never join across a line feed, so a text has the tokens of its passages.
        return sum(self._count(str(passage)) for passage in passages)


def _by_text(hits: Iterable[Hit]) -> Iterable[list[Passage]]:
    """The passages of each text that shows something; a text is the same whatever its spaces are."""
    found: dict[str, list[Passage]] = {}
    for hit in hits:
        passage = _passage(hit)
        if words := " ".join(passage.text.split()):
            found.setdefault(words, []).append(passage)
    return found.values()


def _passage(hit: Hit) -> Passage:
    if hit.text is None:
        raise InputError(f"document {hit.id!r:.60} has no text to show; add it again with its text")
    return Passage(hit.id, hit.span or (0, len(hit.text)), hit.text, hit.score, hit.metadata)


def _joined(passages: Sequence[Passage], new: Passage) -> list[Passage]:
    """The passages of a document and a new one, apart from each other and in order."""
    apart = []
    for passage in passages:
        if passage.span[1] < new.span[0] or new.span[1] < passage.span[0]:
            apart.append(passage)
        else:
            new = _union(passage, new)
    return sorted([*apart, new], key=lambda passage: passage.span)


def _union(one: Passage, other: Passage) -> Passage:
    """Two passages that overlap or touch, as one."""
    first, second = sorted((one, other), key=lambda passage: passage.span)
    start, end = first.span
    return replace(
        first,
        span=(start, max(end, second.span[1])),
        text=first.text + second.text[end - second.span[0] :],
        score=max(one.score, other.score),
        also=_distinct(*one.also, *other.also),
    )


def _distinct(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _counter(tokenizer: Tokenizer, limit: int) -> Callable[[str], int]:
    """A function that counts the tokens of a text without <s> and </s>, or gives limit + 1 for a longer text."""

    @cache
    def count(text: str) -> int:
        return int(tokenizer.encode([text], limit + 3).lengths[0]) - 2

    return count
