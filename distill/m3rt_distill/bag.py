"""The student without its layers: a weighted mean of token vectors, a hundred times cheaper to train."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from m3rt.errors import InputError

from .batches import TogetherBatches, WarmupBatches
from .lessons import Lessons
from .losses import contrast
from .recipe import Recipe
from .student import SPECIAL, is_lexical

_TEMPERATURE = 0.05
_TABLE = 0.1  # standard deviation of the table: a step of Adam then moves a row by about a hundredth


class Bag(nn.Module):
    """table: (vocab, components); its last channel, normalised with the row, decides how much a token weighs."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table, freeze=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Unit vectors (b, components) of token ids (b, s) int64; special tokens count for nothing."""
        x = functional.layer_norm(self.table(ids), self.table.weight.shape[1:])
        weights = x[..., -1].masked_fill(~is_lexical(ids), -100.0).softmax(dim=1)
        return functional.normalize((weights[:, None, :] @ x)[:, 0], dim=-1)


def starting_table(pieces: NDArray[np.float32], rarity: NDArray[np.float32]) -> Tensor:
    """The teacher's projected vectors of all pieces as a bag's table (vocab, components).

    The last channel, the least principal component, gives way to the rarity (vocab,).
    """
    if rarity.shape != pieces.shape[:1]:
        raise InputError(f"rarity is {rarity.shape}, expected {pieces.shape[:1]}: one number a piece")
    table = torch.from_numpy(pieces) * math.sqrt(pieces.shape[1])
    spread = torch.from_numpy((rarity - rarity[4:].mean()) / max(float(rarity[4:].std()), 1e-6))
    table[:, -1] = spread
    table[list(SPECIAL), :] = 0
    table[list(SPECIAL[1:]), -1] = spread.min()
    return table * _TABLE


def bag_losses(bag: Bag, lessons: Lessons, recipe: Recipe, device: str) -> Callable[[int], dict[str, Tensor]]:
    """Follow the teacher's vectors, tell them apart, and find passages by sentences of theirs, in large batches."""
    batches = WarmupBatches(lessons, recipe.bag.tokens, recipe.seed)
    pairs = TogetherBatches(lessons, recipe.bag.tokens, recipe.seed, group=1, most=1024)

    def losses(step: int) -> dict[str, Tensor]:
        ids, target = (tensor.to(device) for tensor in batches.numbered(step))
        cosine = bag(ids) @ target.T
        dense, apart = 1 - cosine.diagonal().mean(), contrast(cosine / _TEMPERATURE)
        queries, passages, same = (tensor.to(device) for tensor in pairs.batch(step))
        found = (bag(queries) @ bag(passages).T).masked_fill(same, -1.0)
        search = contrast(found / _TEMPERATURE)
        return {"dense": dense, "contrast": apart, "search": search, "loss": dense + 0.1 * apart + 0.1 * search}

    return losses
