"""Longer texts made of sentences that belong together, in every language that the sentences were translated into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..constants import PASSAGES
from .corpus import PIVOT, Corpus
from .substitution import SUBSTITUTED_SET

_UNSPACED_LANGS = {"ja", "zh", "th"}  # written without spaces between sentences


@dataclass(frozen=True, slots=True)
class Passage:
    """The same passage in the pivot language and in `lang`; members (k,) are the rows of the corpus's pairs in it.

    Made-up sentences have no translation: then both texts are in `lang`, with the sentences in different orders.
    """

    pivot: str
    text: str
    lang: str
    members: tuple[int, ...]


def make_passages(
    corpus: Corpus, vectors: NDArray[np.float32], per_group: int, characters: tuple[int, int], seed: int
) -> list[Passage]:
    """Make at most `per_group` passages for each data set and language, of log-uniform length in pivot characters.

    vectors: (pairs, dim) unit vectors of the texts that the pairs are taught; a passage joins near neighbours.
    """
    random = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[int]] = {}
    for row, (a, b) in enumerate(corpus.pairs):
        langs = corpus.langs[a], corpus.langs[b]
        if langs.count(PIVOT) == 1 or corpus.sets[row] == SUBSTITUTED_SET:
            groups.setdefault((corpus.sets[row], langs[langs[0] == PIVOT]), []).append(row)
    passages = []
    for (_, lang), rows in sorted(groups.items()):
        members = np.array(rows)
        space = vectors[members]
        for first in random.permutation(len(members))[: min(per_group, len(members) // PASSAGES.pairs_per_passage)]:
            near = members[np.argsort(-(space @ space[first]), kind="stable")[: PASSAGES.neighbours]]
            length = np.exp(random.uniform(*np.log(characters)))
            passages.append(_join(corpus, near, lang, length, random))
    return passages


def _join(corpus: Corpus, near: NDArray[np.int64], lang: str, length: float, random: np.random.Generator) -> Passage:
    """Join the first of the pairs `near` and random others, until the pivot side has `length` characters."""
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
    return ("" if lang in _UNSPACED_LANGS else " ").join(sentences[i] for i in order)
