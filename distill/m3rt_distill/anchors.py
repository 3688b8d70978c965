"""What a student's views are held to as they learn from each other: BM25's term weights, the mean of its words."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from .student import is_lexical

_SATURATION, _LENGTH_SHARE, _USUAL_LENGTH = 1.2, 0.75, 150  # BM25's k1, b and a passage's tokens
_LEXICAL_SCALE = 0.2  # weights then lie where BGE-M3's do
_DENSE_SATURATION = 2.5  # by trial, as k1 of the mean of words: 0.6 to 2.5 find ever more


def bm25_weights(ids: Tensor, rarity: Tensor) -> Tensor:
    """(b, s): weights whose products over shared ids are BM25's terms, half of the rarity on each side."""
    lexical = is_lexical(ids)
    times = _times(ids)
    length = lexical.sum(dim=1, keepdim=True) / _USUAL_LENGTH
    damped = _SATURATION * (1 - _LENGTH_SHARE + _LENGTH_SHARE * length)
    saturated = times * (_SATURATION + 1) / (times + damped)
    return _LEXICAL_SCALE * rarity[ids].sqrt() * saturated * lexical


def mean_of_words(ids: Tensor, table: Tensor, rarity: Tensor) -> Tensor:
    """Unit vectors (b, h) of ids (b, s): the mean of their directions in the table (vocab, h), the rare ones first.

    An id counts by its rarity (vocab,), and the more often the less each time, as a term does in BM25. The last
    channel, which holds the rarity, is 0.
    """
    weights = rarity[ids] * (_DENSE_SATURATION + 1) / (_times(ids) + _DENSE_SATURATION) * is_lexical(ids)
    directions = functional.normalize(table[ids][..., :-1], dim=-1)
    return functional.pad(functional.normalize((weights[:, None, :] @ directions)[:, 0], dim=-1), (0, 1))


def astray(weights: Tensor, target: Tensor) -> Tensor:
    """Squared error of lexical weights as a share of the target's squares."""
    return (weights - target).square().sum() / target.square().sum().clamp(min=1e-6)


def _times(ids: Tensor) -> Tensor:
    """(b, s): how often each id is in its text."""
    return (ids[:, :, None] == ids[:, None, :]).sum(dim=-1)
