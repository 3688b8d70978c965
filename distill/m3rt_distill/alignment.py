"""A bag's rows made alike across languages, by what translations say: linear maps, found without training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .lessons import Lessons

_SHRINK = 100.0  # ridge towards the identity, in sentences: 30 to 300 find alike
_SENTENCES = 8000  # of each language, at most
_PAIRS = 60_000  # of which the directions' noise is measured


def aligned(rows: Tensor, rarity: NDArray[np.float32], lessons: Lessons, pivot: int) -> Tensor:
    """Rows (vocab, n) so turned and stretched that translations have more alike means of words; unit length.

    First each row loses what is common to its languages. Then the sentences of each language are mapped to their
    translations in the language `pivot`, by ridge regression towards the identity, and a row by the maps of its
    languages. At last every direction is divided by how much translations differ in it (within-class covariance
    normalisation; Hatch, Kajarekar and Stolcke, 2006).
    """
    weights = torch.from_numpy(rarity)
    often = _often(lessons, len(rows))
    spoken = functional.normalize(often + 1e-7, p=1, dim=1)
    means = functional.normalize(often * weights[:, None], p=1, dim=0).T @ rows
    rows = functional.normalize(rows - spoken @ (means - means.mean(dim=0)), dim=1)

    pairs = lessons.pairs[np.random.default_rng(0).permutation(len(lessons.pairs))]
    langs = lessons.langs[pairs]
    identity = torch.eye(rows.shape[1])
    mapped = torch.zeros_like(rows)
    for lang in range(often.shape[1]):
        there, back = (pairs[(langs == order).all(axis=1)] for order in ((lang, pivot), (pivot, lang)))
        both = np.concatenate([there, back[:, ::-1]])[: _SENTENCES if lang != pivot else 0]
        mine, others = (_means(lessons, both[:, side], rows, weights) for side in (0, 1))
        turn = torch.linalg.solve(mine.T @ mine + _SHRINK * identity, mine.T @ others + _SHRINK * identity)
        mapped += spoken[:, [lang]] * (rows @ turn)
    mapped = functional.normalize(mapped, dim=1)

    foreign = pairs[(langs[:, 0] != langs[:, 1]) & (langs >= 0).all(axis=1)][:_PAIRS]
    apart = _means(lessons, foreign[:, 0], mapped, weights) - _means(lessons, foreign[:, 1], mapped, weights)
    noise, axes = torch.linalg.eigh(apart.T @ apart / max(len(apart), 1) + 1e-6 * identity)
    return functional.normalize(mapped @ (axes / noise.sqrt()) @ axes.T, dim=1)


def _often(lessons: Lessons, vocab: int) -> Tensor:
    """(vocab, languages): each language's share of tokens that an id has."""
    count = int(lessons.langs.max()) + 1
    of_tokens = lessons.langs.repeat(np.diff(lessons.offsets)).astype(np.int64)
    known = of_tokens >= 0
    cells = np.bincount(lessons.ids[known] * np.int64(count) + of_tokens[known], minlength=vocab * count)
    return functional.normalize(torch.from_numpy(cells.reshape(vocab, count)).float(), p=1, dim=0)


def _means(lessons: Lessons, texts: NDArray[np.int32], rows: Tensor, weights: Tensor) -> Tensor:
    """Unit means of words (texts, n), by rarity."""
    if not len(texts):
        return rows[:0]
    ids = [lessons.text(i) for i in texts]
    flat = torch.from_numpy(np.concatenate(ids).astype(np.int64))
    starts = torch.from_numpy(np.cumsum([0, *map(len, ids[:-1])]))
    return functional.normalize(
        functional.embedding_bag(flat, rows, starts, mode="sum", per_sample_weights=weights[flat]), dim=1
    )
