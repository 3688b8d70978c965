"""Links between pieces that translate each other: IBM model 1 both ways (Brown et al., 1993) over the lessons."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..constants import DICTIONARY
from ..data.lessons import Lessons
from ..student.model import SPECIAL

_FIRST_PIECE = len(SPECIAL)


class Links(NamedTuple):
    """Link i says that piece[i] means meaning[i], a piece of the pivot language; strength (n,) float32 is 0 to 1."""

    piece: NDArray[np.int64]
    meaning: NDArray[np.int64]
    strength: NDArray[np.float32]


def find_links(lessons: Lessons, vocab: int, pivot: int) -> Links:
    """Link pieces of other languages to pieces of `pivot`; a link has its highest strength among all languages."""
    foreign = ~_used_by_pivot(lessons, vocab, pivot)
    sentences = lessons.pairs[: len(lessons.pairs) - lessons.passages]
    sentences = np.concatenate([sentences, sentences[:, ::-1]])
    langs = lessons.langs[sentences]
    random = np.random.default_rng(0)
    keys, chances = [np.empty(0, np.int64)], [np.empty(0)]
    for lang in sorted(set(langs[langs[:, 0] >= 0, 0].tolist()) - {pivot}):
        pairs = random.permutation(sentences[(langs == (lang, pivot)).all(axis=1)])
        key, chance = _link_pieces(lessons, pairs[: DICTIONARY.max_sentences_per_language], vocab)
        keys.append(key)
        chances.append(chance)
    key, place = np.unique(np.concatenate(keys), return_inverse=True)
    strength = np.zeros(len(key), np.float32)
    np.maximum.at(strength, place, np.concatenate(chances).astype(np.float32))
    piece, meaning = np.divmod(key, vocab)
    kept = (strength >= DICTIONARY.min_strength) & foreign[piece] & (np.minimum(piece, meaning) >= _FIRST_PIECE)
    return Links(piece[kept], meaning[kept], strength[kept])


def senses_of(links: Links, vocab: int) -> NDArray[np.int64]:
    """Return (vocab,): the piece that each piece most likely means, which is the piece itself if it has no link."""
    senses = np.arange(vocab)
    order = np.argsort(links.strength, kind="stable")
    senses[links.piece[order]] = links.meaning[order]
    return senses


def add_nearest(links: Links, rows: Tensor, lessons: Lessons, pivot: int) -> Links:
    """Link each foreign piece that has no link to the pivot piece with the nearest row of rows (vocab, n), if near."""
    used_by_pivot = _used_by_pivot(lessons, len(rows), pivot)
    linked = np.isin(np.arange(len(rows)), links.piece)
    piece, meaning = (
        _FIRST_PIECE + np.flatnonzero(mask[_FIRST_PIECE:]) for mask in (~used_by_pivot & ~linked, used_by_pivot)
    )
    if not len(piece) or not len(meaning):
        return links
    centred = functional.normalize(rows - rows[_FIRST_PIECE:].mean(dim=0), dim=1)
    cosine, nearest = (part.numpy() for part in (centred[piece] @ centred[meaning].T).max(dim=1))
    near = cosine > DICTIONARY.min_cosine
    return Links(
        np.concatenate([links.piece, piece[near]]),
        np.concatenate([links.meaning, meaning[nearest[near]]]),
        np.concatenate([links.strength, cosine[near]]),
    )


def move_to_meanings(rows: Tensor, links: Links) -> Tensor:
    """Move each of rows (vocab, n) towards the rows of all its meanings; return unit rows."""
    piece, meaning, strength = (torch.from_numpy(part) for part in links)
    moved = rows.index_add(0, piece, DICTIONARY.translation_weight * strength[:, None] * rows[meaning])
    return functional.normalize(moved, dim=1)


def _used_by_pivot(lessons: Lessons, vocab: int, pivot: int) -> NDArray[np.bool_]:
    """Mark the pieces (vocab,) that belong to the pivot language and need no translation."""
    lang_of_token = lessons.langs.repeat(np.diff(lessons.offsets))
    masks = lang_of_token == pivot, lang_of_token >= 0
    in_pivot, overall = (np.bincount(lessons.ids[mask], minlength=vocab) for mask in masks)
    return (1 + DICTIONARY.pivot_count_weight) * in_pivot > overall


def _link_pieces(
    lessons: Lessons, pairs: NDArray[np.int32], vocab: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return keys `piece * vocab + meaning` of all pairs within sentences, and how surely they translate each other.

    pairs (n, 2): sentences and their translations in the pivot language.
    """
    # <s> is left out; </s> stays on both sides, for pieces that have no translation.
    pieces = [[np.unique(lessons.text(i)[1:]).astype(np.int64) for i in column] for column in pairs.T]
    short = [(a, b) for a, b in zip(*pieces, strict=True) if len(a) * len(b) < DICTIONARY.piece_pairs_limit]
    if not short:
        return np.empty(0, np.int64), np.empty(0)
    here, there = zip(*short, strict=True)
    sizes = [np.array([*map(len, side)]) for side in (here, there)]
    first = np.concatenate([np.repeat(a, n) for a, n in zip(here, sizes[1], strict=True)])
    second = np.concatenate([np.tile(b, n) for b, n in zip(there, sizes[0], strict=True)])
    starts = [np.cumsum(n) - n for n in sizes]
    # For each pair, the number of its piece on either side, counted through all sentences.
    slots = [
        np.concatenate([np.repeat(np.arange(n) + s, m) for n, m, s in zip(*sizes, starts[0], strict=True)]),
        np.concatenate([np.tile(np.arange(m) + s, n) for n, m, s in zip(*sizes, starts[1], strict=True)]),
    ]
    key, kind = np.unique(first * vocab + second, return_inverse=True)
    piece, meaning = np.divmod(key, vocab)
    forth, count_forth = _model_1(kind, slots[1], piece)
    back, count_back = _model_1(kind, slots[0], meaning)
    count = np.minimum(count_forth, count_back)
    return key, np.sqrt(forth * back) * count / (count + 1)  # lower for pairs that were rarely seen


def _model_1(
    kind: NDArray[np.int64], explained: NDArray[np.int64], condition: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each kind of pair, the chance of one piece under the condition of the other, and its expected count.

    kind (pairs,): the kind of each pair. explained (pairs,): the number of the piece in a sentence that the pair
    explains; of all pairs with this number one is right. condition (kinds,): the piece that explains.
    """
    chance = np.ones(len(condition))
    count: NDArray[Any] = chance
    for _ in range(DICTIONARY.em_rounds):
        share = chance[kind]
        share /= np.bincount(explained, share)[explained]
        count = np.bincount(kind, share, len(condition))
        chance = count / np.bincount(condition, count)[condition]
    return chance, count
