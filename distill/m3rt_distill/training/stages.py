"""The losses of two stages: warm-up against the teacher, then all heads together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..constants import TRAINING
from ..data.lessons import Lessons
from ..recipe import Recipe, Stage
from ..start.channels import SCALAR_CHANNELS
from ..student.formulas import bm25_weights, mean_of_words, relative_squared_error
from ..student.model import HeadOutputs, Student
from .batches import SearchBatches, TeacherBatches
from .losses import Scores, dense_warmup, scores, self_distillation
from .run import StepLosses

_MASKED_SCORE = -1e4  # duplicates get it, so that they are no negatives


def warmup_losses(
    student: Student, lessons: Lessons, stage: Stage, seed: int, rarity: NDArray[np.float32], device: str
) -> Callable[[int], StepLosses]:
    """Return the losses of a warm-up step: dense vectors follow the teacher, lexical weights follow BM25's."""
    batches = TeacherBatches(lessons, stage.tokens, seed)
    piece_rarity = torch.from_numpy(rarity).to(device)

    def losses(step: int) -> StepLosses:
        ids, target = (tensor.to(device) for tensor in batches.numbered(step))
        outputs = _outputs(student, ids)
        dense = dense_warmup(outputs.dense, target, TRAINING.warmup_temperature)
        lexical = functional.mse_loss(outputs.lexical, bm25_weights(ids, piece_rarity))
        return {"dense": dense, "lexical": lexical, "loss": dense + TRAINING.warmup_lexical_weight * lexical}

    return losses


def _outputs(student: Student, ids: Tensor) -> HeadOutputs:
    """Run the student's encoder in bfloat16 and its heads in float32."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = student.backbone(ids)
    return student.heads(ids, hidden.float())


def together_losses(
    student: Student, lessons: Lessons, recipe: Recipe, rarity: NDArray[np.float32], device: str
) -> Callable[[int], StepLosses]:
    """Return the losses of a step that trains every head by InfoNCE and by following the ensemble of all three.

    If the encoder is trained, dense vectors are kept close to the mean of their words and lexical weights to BM25's.
    """
    batches = SearchBatches(lessons, recipe.together.tokens, recipe.seed)
    piece_rarity = torch.from_numpy(rarity).to(device)
    words = student.backbone.embeddings.word_embeddings.weight.detach()[:, :-SCALAR_CHANNELS]
    anchored = any(p.requires_grad for p in student.backbone.parameters())

    def losses(step: int) -> StepLosses:
        queries, passages, duplicates = (tensor.to(device) for tensor in batches.batch(step))
        sides = _outputs(student, queries), _outputs(student, passages)
        masked = (s.masked_fill(duplicates, _MASKED_SCORE) for s in scores(*sides, student.shape.vocab))
        terms = self_distillation(Scores(*masked), recipe.temperatures, recipe.weights, recipe.distillation)
        if not anchored:
            return terms
        means = [mean_of_words(side.ids, words, piece_rarity) for side in sides]
        dense = [side.dense[:, :-SCALAR_CHANNELS] for side in sides]
        cosines = [(vectors * mean).sum(-1).mean() for vectors, mean in zip(dense, means, strict=True)]
        anchor = 1 - sum(cosines) / 2
        targets = [bm25_weights(side.ids, piece_rarity) for side in sides]
        lexical = sum(relative_squared_error(s.lexical, t) for s, t in zip(sides, targets, strict=True)) / 2
        loss = terms["loss"] + recipe.anchor * anchor + recipe.lexical * lexical
        return {**terms, "anchor": anchor, "lexical": lexical, "loss": loss}

    return losses
