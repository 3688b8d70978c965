"""One resumable training loop, and the losses of two stages: warm-up against the teacher, then all heads together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from m3rt.errors import InputError
from m3rt.host.files import replacing

from .batches import SearchBatches, TeacherBatches
from .channels import SCALAR_CHANNELS
from .constants import TRAINING
from .formulas import bm25_weights, mean_of_words, relative_squared_error
from .lessons import Lessons
from .losses import Scores, dense_warmup, scores, self_distillation
from .recipe import Recipe, Stage
from .student import HeadOutputs, Student

_STEPS_BETWEEN_SAVES = 50
_MASKED_SCORE = -1e4  # duplicates get it, so that they are no negatives
Losses = dict[str, Tensor]


@dataclass(slots=True)
class StageRun:
    """A stage under way: `step` steps are done, history holds their losses, and `path` keeps all of it.

    mean: the running mean of the model's weights, with which the stage ends; None for a stage without one.
    """

    model: nn.Module
    optimizer: Any
    mean: AveragedModel | None
    path: Path
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self) -> None:
        """Write model, mean, optimizer and history as a whole or not at all."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.mean:
            state["mean"] = self.mean.state_dict()
        with replacing(self.path) as aside:
            torch.save({**state, "step": self.step, "history": self.history}, aside)
        self.path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.history), "utf-8")

    def resume(self) -> None:
        """Go on from `path` if it exists; InputError if it has no mean and this stage needs one."""
        if self.path.is_file():
            state = torch.load(self.path, weights_only=True)
            if self.mean and "mean" not in state:
                raise InputError(
                    f"{self.path} has no running mean, expected one; take mean out of the recipe, or another --out"
                )
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.mean:
                self.mean.load_state_dict(state["mean"])
            self.step, self.history = state["step"], state["history"]


def train(model: nn.Module, stage: Stage, losses: Callable[[int], Losses], path: Path, name: str) -> StageRun:
    """Minimise the "loss" of losses(step) for the stage's steps; parameters that require a gradient are trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(_groups(model, stage), betas=TRAINING.adam_betas, weight_decay=0.0, fused=True)
    # On texts unlike the training texts, means of weights find more than the weights of any step: arXiv:2203.05482.
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(stage.mean)) if stage.mean else None
    run = StageRun(model, optimizer, mean, path)
    run.resume()
    model.train()
    with tqdm(range(run.step, stage.steps), name, initial=run.step, total=stage.steps, disable=None) as progress:
        for step in progress:
            for group in optimizer.param_groups:
                group["lr"] = stage.rate_at(step) * group["share"]
            terms = losses(step)
            optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward()
            torch.nn.utils.clip_grad_norm_(trained, TRAINING.max_gradient_norm)
            optimizer.step()
            if mean:
                mean.update_parameters(model)
            run.step = step + 1
            run.history.append({key: round(float(value.detach()), 5) for key, value in terms.items()})
            progress.set_postfix({key: f"{value:.3f}" for key, value in run.history[-1].items()}, refresh=False)
            if run.step % _STEPS_BETWEEN_SAVES == 0 or run.step == stage.steps:
                run.save()
    if mean:
        model.load_state_dict(mean.module.state_dict())
    return run


def _groups(model: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """Group the trained parameters by their share of the rate, as AdamW takes them."""
    groups: dict[float, list[Tensor]] = {}
    for name, tensor in model.named_parameters():
        if tensor.requires_grad:
            share = stage.careful if "embeddings" in name or "attention" in name else 1.0
            groups.setdefault(share, []).append(tensor)
    return [{"params": tensors, "share": share, "lr": stage.rate * share} for share, tensors in groups.items()]


def warmup_losses(
    student: Student, lessons: Lessons, stage: Stage, seed: int, rarity: NDArray[np.float32], device: str
) -> Callable[[int], Losses]:
    """Return the losses of a warm-up step: dense vectors follow the teacher, lexical weights follow BM25's."""
    batches = TeacherBatches(lessons, stage.tokens, seed)
    piece_rarity = torch.from_numpy(rarity).to(device)

    def losses(step: int) -> Losses:
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
) -> Callable[[int], Losses]:
    """Return the losses of a step that trains every head by InfoNCE and by following the ensemble of all three.

    If the encoder is trained, dense vectors are kept close to the mean of their words and lexical weights to BM25's.
    """
    batches = SearchBatches(lessons, recipe.together.tokens, recipe.seed)
    piece_rarity = torch.from_numpy(rarity).to(device)
    words = student.backbone.embeddings.word_embeddings.weight.detach()[:, :-SCALAR_CHANNELS]
    anchored = any(p.requires_grad for p in student.backbone.parameters())

    def losses(step: int) -> Losses:
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
