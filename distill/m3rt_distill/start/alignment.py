"""Languages made alike by the lessons' translations: linear maps of the bag's rows, fitted without training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..constants import ALIGNMENT
from ..data.lessons import Lessons


def align_languages(rows: Tensor, rarity: NDArray[np.float32], lessons: Lessons, pivot: int) -> Tensor:
    """Turn and stretch rows (vocab, n) so that translations have more alike means of words; return unit rows.

    First each row loses the mean of its languages. Then the sentences of each language are mapped to their translations
    in the language `pivot`, by ridge regression towards the identity, and a row is mapped by the maps of its languages.
    At last every direction is divided by how much translations differ in it (within-class covariance normalisation;
    Hatch, Kajarekar and Stolcke, 2006).
    """
    weights = torch.from_numpy(rarity)
    share_of_tokens = _share_of_tokens(lessons, len(rows))
    spoken = functional.normalize(share_of_tokens + 1e-7, p=1, dim=1)
    means = functional.normalize(share_of_tokens * weights[:, None], p=1, dim=0).T @ rows
    rows = functional.normalize(rows - spoken @ (means - means.mean(dim=0)), dim=1)

    pairs = lessons.pairs[np.random.default_rng(0).permutation(len(lessons.pairs))]
    langs = lessons.langs[pairs]
    identity = torch.eye(rows.shape[1])
    ridge = ALIGNMENT.ridge_sentences
    mapped = torch.zeros_like(rows)
    for lang in range(share_of_tokens.shape[1]):
        to_pivot, from_pivot = (pairs[(langs == order).all(axis=1)] for order in ((lang, pivot), (pivot, lang)))
        most = ALIGNMENT.max_sentences_per_language if lang != pivot else 0
        both = np.concatenate([to_pivot, from_pivot[:, ::-1]])[:most]
        here, there = (_mean_words(lessons, both[:, side], rows, weights) for side in (0, 1))
        turn = torch.linalg.solve(here.T @ here + ridge * identity, here.T @ there + ridge * identity)
        mapped += spoken[:, [lang]] * (rows @ turn)
    mapped = functional.normalize(mapped, dim=1)

    foreign = pairs[(langs[:, 0] != langs[:, 1]) & (langs >= 0).all(axis=1)][: ALIGNMENT.max_noise_pairs]
    left, right = (_mean_words(lessons, foreign[:, side], mapped, weights) for side in (0, 1))
    difference = left - right
    noise, axes = torch.linalg.eigh(difference.T @ difference / max(len(difference), 1) + 1e-6 * identity)
    return functional.normalize(mapped @ (axes / noise.sqrt()) @ axes.T, dim=1)


def _share_of_tokens(lessons: Lessons, vocab: int) -> Tensor:
    """Return (vocab, languages): the share of each language's tokens that are an id."""
    count = int(lessons.langs.max()) + 1
    lang_of_token = lessons.langs.repeat(np.diff(lessons.offsets)).astype(np.int64)
    known = lang_of_token >= 0
    cells = np.bincount(lessons.ids[known] * np.int64(count) + lang_of_token[known], minlength=vocab * count)
    return functional.normalize(torch.from_numpy(cells.reshape(vocab, count)).float(), p=1, dim=0)


def _mean_words(lessons: Lessons, texts: NDArray[np.int32], rows: Tensor, weights: Tensor) -> Tensor:
    """Return the unit mean of each text's rows, weighted by rarity: (texts, n)."""
    if not len(texts):
        return rows[:0]
    ids = [lessons.text(i) for i in texts]
    flat = torch.from_numpy(np.concatenate(ids).astype(np.int64))
    starts = torch.from_numpy(np.cumsum([0, *map(len, ids[:-1])]))
    return functional.normalize(
        functional.embedding_bag(flat, rows, starts, mode="sum", per_sample_weights=weights[flat]), dim=1
    )
