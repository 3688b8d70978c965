"""The bag: a student without layers, a weighted mean of token vectors, a hundred times cheaper to train."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from m3rt.errors import InputError

from ..constants import BAG
from ..data.lessons import Lessons
from ..recipe import Recipe
from ..student.model import SPECIAL, is_lexical
from .batches import SearchBatches, TeacherBatches
from .losses import info_nce

_MASKED_LOGIT = -100.0  # special tokens get it, so that their share of the mean is 0


class Bag(nn.Module):
    """A table (vocab, components); the last channel, normalised with its row, is the log of a token's weight."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table, freeze=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return unit vectors (b, components) of token ids (b, s) int64; special tokens do not count."""
        x = functional.layer_norm(self.table(ids), self.table.weight.shape[1:])
        weights = x[..., -1].masked_fill(~is_lexical(ids), _MASKED_LOGIT).softmax(dim=1)
        return functional.normalize((weights[:, None, :] @ x)[:, 0], dim=-1)


def starting_table(pieces: NDArray[np.float32], rarity: NDArray[np.float32]) -> Tensor:
    """Make a bag's table (vocab, components) from the teacher's projected vectors of all pieces.

    The last channel, which is the least principal component, gives way to the rarity (vocab,).
    """
    if rarity.shape != pieces.shape[:1]:
        raise InputError(f"rarity is {rarity.shape}, expected {pieces.shape[:1]}: one number a piece")
    table = torch.from_numpy(pieces) * math.sqrt(pieces.shape[1])
    spread = torch.from_numpy((rarity - rarity[4:].mean()) / max(float(rarity[4:].std()), 1e-6))
    table[:, -1] = spread
    table[list(SPECIAL), :] = 0
    table[list(SPECIAL[1:]), -1] = spread.min()
    return table * BAG.table_std


def bag_losses(bag: Bag, lessons: Lessons, recipe: Recipe, device: str) -> Callable[[int], dict[str, Tensor]]:
    """Return the losses of a step: follow the teacher's vectors, tell them apart, find passages by their sentences."""
    tokens = recipe.bag.tokens
    texts = TeacherBatches(lessons, tokens, recipe.seed)
    pairs = SearchBatches(lessons, tokens, recipe.seed, per_group=BAG.pairs_per_group, max_pairs=BAG.max_pairs)

    def losses(step: int) -> dict[str, Tensor]:
        ids, target = (tensor.to(device) for tensor in texts.numbered(step))
        cosine = bag(ids) @ target.T
        dense, contrast = 1 - cosine.diagonal().mean(), info_nce(cosine / BAG.temperature)
        queries, passages, duplicates = (tensor.to(device) for tensor in pairs.batch(step))
        scored = (bag(queries) @ bag(passages).T).masked_fill(duplicates, -1.0)
        search = info_nce(scored / BAG.temperature)
        loss = dense + BAG.contrast_weight * contrast + BAG.search_weight * search
        return {"dense": dense, "contrast": contrast, "search": search, "loss": loss}

    return losses
