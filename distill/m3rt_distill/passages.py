"""Longer texts made of sentences that belong together, in every language that the sentences were translated into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .data import PIVOT, Corpus
from .substitution import SUBSTITUTED

_NO_SPACE = {"ja", "zh", "th"}  # written without spaces between sentences
_NEAR = 60  # a passage's sentences come from this many nearest neighbours of its first one


@dataclass(frozen=True, slots=True)
class Passage:
    """The same passage in the pivot language and in `lang`; members (k,) are the rows of the corpus's pairs in it.

    Made-up sentences have no translation: then both are in `lang`, in different orders.
    """

    pivot: str
    text: str
    lang: str
    members: tuple[int, ...]


def make_passages(
    corpus: Corpus, vectors: NDArray[np.float32], per_group: int, characters: tuple[int, int], seed: int
) -> list[Passage]:
    """At most `per_group` passages for each data set and language, of log-uniform length in pivot characters.

    vectors: (pairs, dim) unit vectors of the pairs' anchors, whose neighbours are taken for related.
    """
    random = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[int]] = {}
    for row, (a, b) in enumerate(corpus.pairs):
        langs = corpus.langs[a], corpus.langs[b]
        if langs.count(PIVOT) == 1 or corpus.sets[row] == SUBSTITUTED:
            groups.setdefault((corpus.sets[row], langs[langs[0] == PIVOT]), []).append(row)
    found = []
    for (_, lang), rows in sorted(groups.items()):
        members = np.array(rows)
        space = vectors[members]
        for first in random.permutation(len(members))[: min(per_group, len(members) // 8)]:
            near = members[np.argsort(-(space @ space[first]), kind="stable")[:_NEAR]]
            length = np.exp(random.uniform(*np.log(characters)))
            found.append(_join(corpus, near, lang, length, random))
    return found


def _join(corpus: Corpus, near: NDArray[np.int64], lang: str, length: float, random: np.random.Generator) -> Passage:
    chosen: list[int] = []
    sides: tuple[list[str], list[str]] = [], []  # pivot, lang
    for row in [near[0], *random.permutation(near[1:])]:
        a, b = corpus.pairs[row]
        if corpus.langs[b] == PIVOT:
            a, b = b, a
        if corpus.texts[a] in sides[0]:
            continue
        chosen.append(int(row))
        sides[0].append(corpus.texts[a])
        sides[1].append(corpus.texts[b])
        if sum(map(len, sides[0])) >= length:
            break
    order = random.permutation(len(chosen))
    same = sides[0] == sides[1]
    pivot = _text(sides[0], lang if same else PIVOT, order)
    text = _text(sides[1], lang, random.permutation(order) if same else order)
    return Passage(pivot, text, lang, tuple(chosen[i] for i in order))


def _text(sentences: list[str], lang: str, order: NDArray[np.int64]) -> str:
    return ("" if lang in _NO_SPACE else " ").join(sentences[i] for i in order)
