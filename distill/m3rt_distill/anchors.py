"""What a student's views are held to as they learn from each other: BM25's term weights, the mean of its words."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .student import is_lexical

_K1, _LENGTH_SHARE, _USUAL_LENGTH = 1.2, 0.75, 150  # BM25's k1, b and a passage's tokens
_LEXICAL_SCALE = 0.13  # weights then lie near BGE-M3's; .2 drowns, across languages, what the other views find
SATURATION = 2.5  # of the mean of words, by trial: 0.6 to 2.5 find ever more
_LEAD, _LEAST = 60, 0.3  # tokens after which a place weighs half of what the first one has above the least, by trial


def bm25_weights(ids: Tensor, rarity: Tensor) -> Tensor:
    """(b, s): weights whose products over shared ids are BM25's terms, half of the rarity on each side."""
    lexical = is_lexical(ids)
    times = _times(ids)
    length = lexical.sum(dim=1, keepdim=True) / _USUAL_LENGTH
    damped = _K1 * (1 - _LENGTH_SHARE + _LENGTH_SHARE * length)
    saturated = times * (_K1 + 1) / (times + damped)
    return _LEXICAL_SCALE * rarity[ids].sqrt() * saturated * lexical


def mean_of_words(ids: Tensor, table: Tensor, rarity: Tensor) -> Tensor:
    """Unit vectors (b, n) of ids (b, s): the mean of the unit rows of table (vocab, n), the rare and first ones first.

    An id counts by its rarity (vocab,), more often the less each time, as a term does in BM25, and more at the
    beginning of a text, which tends to say what it is about.
    """
    often = (SATURATION + 1) / (_times(ids) + SATURATION)
    weights = rarity[ids] * often * place_weights(ids.shape[1]).to(ids.device) * is_lexical(ids)
    return functional.normalize((weights[:, None, :] @ functional.normalize(table[ids], dim=-1))[:, 0], dim=-1)


def place_weights(count: int) -> Tensor:
    """(count,): what a word weighs at each place, <s> being the first."""
    return _LEAST + (1 - _LEAST) / (1 + torch.arange(count) / _LEAD)


def astray(weights: Tensor, target: Tensor) -> Tensor:
    """Squared error of lexical weights as a share of the target's squares."""
    return (weights - target).square().sum() / target.square().sum().clamp(min=1e-6)


def _times(ids: Tensor) -> Tensor:
    """(b, s): how often each id is in its text."""
    return (ids[:, :, None] == ids[:, None, :]).sum(dim=-1)
