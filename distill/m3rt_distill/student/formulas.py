"""The two formulas that a student is held to: BM25's term weights, and a weighted mean of word vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..constants import FORMULAS
from .model import is_lexical


def bm25_weights(ids: Tensor, rarity: Tensor) -> Tensor:
    """Return (b, s) weights whose products over shared ids are BM25's terms, half of the rarity on each side."""
    lexical = is_lexical(ids)
    occurrences = _occurrences(ids)
    k1, b = FORMULAS.bm25_k1, FORMULAS.bm25_b
    length = lexical.sum(dim=1, keepdim=True) / FORMULAS.bm25_passage_tokens
    damped = k1 * (1 - b + b * length)
    saturated = occurrences * (k1 + 1) / (occurrences + damped)
    return FORMULAS.lexical_units * rarity[ids].sqrt() * saturated * lexical


def mean_of_words(ids: Tensor, table: Tensor, rarity: Tensor) -> Tensor:
    """Return unit vectors (b, n) of ids (b, s): the weighted mean of the unit rows of table (vocab, n).

    An id weighs as much as its rarity (vocab,). Each repetition adds less than the one before, as in BM25. An id weighs
    more at the beginning of a text, which tends to name its subject.
    """
    repeated = (FORMULAS.saturation + 1) / (_occurrences(ids) + FORMULAS.saturation)
    weights = rarity[ids] * repeated * place_weights(ids.shape[1]).to(ids.device) * is_lexical(ids)
    return functional.normalize((weights[:, None, :] @ functional.normalize(table[ids], dim=-1))[:, 0], dim=-1)


def place_weights(count: int) -> Tensor:
    """Return (count,): the weight of a word at each place, <s> being the first."""
    floor = FORMULAS.place_floor
    return floor + (1 - floor) / (1 + torch.arange(count) / FORMULAS.place_halving_tokens)


def relative_squared_error(weights: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of lexical weights as a share of the target's squares."""
    return (weights - target).square().sum() / target.square().sum().clamp(min=1e-6)


def _occurrences(ids: Tensor) -> Tensor:
    """Return (b, s): how often each id is in its text."""
    return (ids[:, :, None] == ids[:, None, :]).sum(dim=-1)
