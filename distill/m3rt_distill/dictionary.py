"""Which pieces translate which: IBM model 1 both ways (Brown et al., 1993) over the lessons' translations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .lessons import Lessons
from .student import SPECIAL

_SENTENCES = 20_000  # of each language, at most
_LARGEST = 2500  # pairs of pieces in a sentence: longer ones say little
_ROUNDS = 5
_LEAST = 0.05  # strength of a link; .02, .15 and .25 find less
_ALIKE = 0.5  # cosine of what is taken for a translation without having been seen as one
_OWN = 2.0  # times as often counts what the pivot uses; what it then uses more than others needs no translation
_NEARER = 1.5  # weight of a piece's translations beside itself
_SPECIAL = len(SPECIAL)


class Links(NamedTuple):
    """Link i: piece[i] means meaning[i], a piece of the pivot language; strength (n,) float32, 0 to 1."""

    piece: NDArray[np.int64]
    meaning: NDArray[np.int64]
    strength: NDArray[np.float32]


def translations(lessons: Lessons, vocab: int, pivot: int) -> Links:
    """Links of the pieces that other languages use more than `pivot`, the strongest in any language of each pair."""
    foreign = ~_own(lessons, vocab, pivot)
    both = lessons.pairs[: len(lessons.pairs) - lessons.passages]
    both = np.concatenate([both, both[:, ::-1]])
    langs = lessons.langs[both]
    random = np.random.default_rng(0)
    keys, chances = [np.empty(0, np.int64)], [np.empty(0)]
    for lang in sorted(set(langs[langs[:, 0] >= 0, 0].tolist()) - {pivot}):
        sides = random.permutation(both[(langs == (lang, pivot)).all(axis=1)])[:_SENTENCES]
        found, chance = _linked(lessons, sides, vocab)
        keys.append(found)
        chances.append(chance)
    key, place = np.unique(np.concatenate(keys), return_inverse=True)
    strength = np.zeros(len(key), np.float32)
    np.maximum.at(strength, place, np.concatenate(chances).astype(np.float32))
    piece, meaning = np.divmod(key, vocab)
    kept = (strength >= _LEAST) & foreign[piece] & (np.minimum(piece, meaning) >= _SPECIAL)
    return Links(piece[kept], meaning[kept], strength[kept])


def senses(links: Links, vocab: int) -> NDArray[np.int64]:
    """(vocab,): the piece that each piece most likely means, itself if it has no link."""
    found = np.arange(vocab)
    order = np.argsort(links.strength, kind="stable")
    found[links.piece[order]] = links.meaning[order]
    return found


def guessed(links: Links, rows: Tensor, lessons: Lessons, pivot: int) -> Links:
    """The same, and of pieces of other languages without a link the nearest rows (vocab, n) of the pivot's."""
    own = _own(lessons, len(rows), pivot)
    linked = np.isin(np.arange(len(rows)), links.piece)
    piece, meaning = (_SPECIAL + np.flatnonzero(which[_SPECIAL:]) for which in (~own & ~linked, own))
    if not len(piece) or not len(meaning):
        return links
    centred = functional.normalize(rows - rows[_SPECIAL:].mean(dim=0), dim=1)
    cosine, nearest = (part.numpy() for part in (centred[piece] @ centred[meaning].T).max(dim=1))
    kept = cosine > _ALIKE
    return Links(
        np.concatenate([links.piece, piece[kept]]),
        np.concatenate([links.meaning, meaning[nearest[kept]]]),
        np.concatenate([links.strength, cosine[kept]]),
    )


def nearer(rows: Tensor, links: Links) -> Tensor:
    """Unit rows (vocab, n), each moved towards those of what it means."""
    piece, meaning, strength = (torch.from_numpy(part) for part in links)
    moved = rows.index_add(0, piece, _NEARER * strength[:, None] * rows[meaning])
    return functional.normalize(moved, dim=1)


def _own(lessons: Lessons, vocab: int, pivot: int) -> NDArray[np.bool_]:
    """Which pieces the pivot language uses at least half as often as all others together."""
    of_tokens = lessons.langs.repeat(np.diff(lessons.offsets))
    counts = [np.bincount(lessons.ids[where], minlength=vocab) for where in (of_tokens == pivot, of_tokens >= 0)]
    return (1 + _OWN) * counts[0] > counts[1]  # counts[1] has the pivot's own as well


def _linked(lessons: Lessons, sides: NDArray[np.int32], vocab: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keys `piece * vocab + meaning` of all pairs within sentences, and how surely they translate each other."""
    # <s> is left out; </s> stays on both sides, for what has no translation.
    pieces = [[np.unique(lessons.text(i)[1:]).astype(np.int64) for i in column] for column in sides.T]
    short = [(a, b) for a, b in zip(*pieces, strict=True) if len(a) * len(b) < _LARGEST]
    if not short:
        return np.empty(0, np.int64), np.empty(0)
    mine, theirs = zip(*short, strict=True)
    sizes = [np.array([*map(len, side)]) for side in (mine, theirs)]
    first = np.concatenate([np.repeat(a, n) for a, n in zip(mine, sizes[1], strict=True)])
    second = np.concatenate([np.tile(b, n) for b, n in zip(theirs, sizes[0], strict=True)])
    starts = [np.cumsum(n) - n for n in sizes]
    # Which piece of which sentence each pair has, on either side.
    slots = [
        np.concatenate([np.repeat(np.arange(n) + s, m) for n, m, s in zip(*sizes, starts[0], strict=True)]),
        np.concatenate([np.tile(np.arange(m) + s, n) for n, m, s in zip(*sizes, starts[1], strict=True)]),
    ]
    key, pair = np.unique(first * vocab + second, return_inverse=True)
    one, other = np.divmod(key, vocab)
    to, often_to = _model_1(pair, slots[1], one)
    back, often_back = _model_1(pair, slots[0], other)
    often = np.minimum(often_to, often_back)
    return key, np.sqrt(to * back) * often / (often + 1)  # less where little was seen


def _model_1(
    pair: NDArray[np.int64], explained: NDArray[np.int64], given: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each kind of pair, the chance of its one piece given the other, and its expected count.

    pair: the kind of each pair. explained: which piece of a sentence it explains, one of the pairs that share it
    being right. given (kinds,): the piece that does.
    """
    chance = np.ones(len(given))
    count: NDArray[Any] = chance
    for _ in range(_ROUNDS):
        share = chance[pair]
        share /= np.bincount(explained, share)[explained]
        count = np.bincount(pair, share, len(given))
        chance = count / np.bincount(given, count)[given]
    return chance, count
