"""The two stages of training, resumable: warm-up against the teacher, then the three heads together."""

from __future__ import annotations

import json
import os
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

from .anchors import astray, bm25_weights, mean_of_words
from .batches import TogetherBatches, WarmupBatches
from .channels import OTHERS
from .lessons import Lessons
from .losses import Scores, dense_warmup, scores, self_distillation
from .recipe import Recipe, Stage
from .student import Student, Views

_SAVE_EVERY = 50
_TEMPERATURE = 0.05
Losses = dict[str, Tensor]


@dataclass(slots=True)
class Run:
    """A stage under way: `step` steps done, their losses, all of it kept in `path`.

    mean: the running mean of the model's weights, which is what the stage ends with; None without one.
    """

    model: nn.Module
    optimizer: Any
    mean: AveragedModel | None
    path: Path
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self) -> None:
        """Write model, mean, optimizer and history aside and rename."""
        aside = self.path.with_suffix(".part")
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.mean:
            state["mean"] = self.mean.state_dict()
        torch.save({**state, "step": self.step, "history": self.history}, aside)
        os.replace(aside, self.path)
        self.path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.history), "utf-8")

    def resume(self) -> None:
        """Go on from `path` if there is one; InputError if that run kept no mean and this one would."""
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


def train(model: nn.Module, stage: Stage, losses: Callable[[int], Losses], path: Path, name: str) -> Run:
    """Minimise the "loss" of losses(step) for the stage's steps; what is trainable is what requires a gradient."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(_groups(model, stage), betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    # Means of weights find more in texts unlike the training ones than the weights of any step: arXiv:2203.05482.
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(stage.mean)) if stage.mean else None
    run = Run(model, optimizer, mean, path)
    run.resume()
    model.train()
    with tqdm(range(run.step, stage.steps), name, initial=run.step, total=stage.steps, disable=None) as progress:
        for step in progress:
            for group in optimizer.param_groups:
                group["lr"] = stage.rate_at(step) * group["share"]
            found = losses(step)
            optimizer.zero_grad(set_to_none=True)
            found["loss"].backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            if mean:
                mean.update_parameters(model)
            run.step = step + 1
            run.history.append({key: round(float(value.detach()), 5) for key, value in found.items()})
            progress.set_postfix({key: f"{value:.3f}" for key, value in run.history[-1].items()}, refresh=False)
            if run.step % _SAVE_EVERY == 0 or run.step == stage.steps:
                run.save()
    if mean:
        model.load_state_dict(mean.module.state_dict())
    return run


def _groups(model: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    groups: dict[float, list[Tensor]] = {}
    for name, tensor in model.named_parameters():
        if tensor.requires_grad:
            share = stage.careful if "embeddings" in name or "attention" in name else 1.0
            groups.setdefault(share, []).append(tensor)
    return [{"params": tensors, "share": share, "lr": stage.rate * share} for share, tensors in groups.items()]


def warmup_losses(
    student: Student, lessons: Lessons, stage: Stage, seed: int, rarity: NDArray[np.float32], device: str
) -> Callable[[int], Losses]:
    """Stage 1: the dense view follows the teacher, the lexical weights follow BM25's."""
    batches = WarmupBatches(lessons, stage.tokens, seed)
    rare = torch.from_numpy(rarity).to(device)

    def losses(step: int) -> Losses:
        ids, target = (tensor.to(device) for tensor in batches.numbered(step))
        views = half_views(student, ids)
        dense = dense_warmup(views.dense, target, _TEMPERATURE)
        lexical = functional.mse_loss(views.weights, bm25_weights(ids, rare))
        return {"dense": dense, "lexical": lexical, "loss": dense + 2 * lexical}

    return losses


def half_views(student: Student, ids: Tensor) -> Views:
    """The student's views, its encoder in bfloat16, the heads and what follows in float32."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = student.backbone(ids)
    return student.heads(ids, hidden.float())


def together_losses(
    student: Student, lessons: Lessons, recipe: Recipe, rarity: NDArray[np.float32], device: str
) -> Callable[[int], Losses]:
    """Stage 2: every head by InfoNCE and by following the ensemble, the dense view close to the mean of its words."""
    batches = TogetherBatches(lessons, recipe.together.tokens, recipe.seed)
    rare = torch.from_numpy(rarity).to(device)
    words = student.backbone.embeddings.word_embeddings.weight.detach()[:, :-OTHERS]
    anchored = any(p.requires_grad for p in student.backbone.parameters())

    def losses(step: int) -> Losses:
        queries, passages, same = (tensor.to(device) for tensor in batches.batch(step))
        asked, found = half_views(student, queries), half_views(student, passages)
        scored = Scores(*(s.masked_fill(same, -1e4) for s in scores(asked, found, student.shape.vocab)))
        named = self_distillation(scored, recipe.temperatures, recipe.weights, recipe.distillation)
        if not anchored:
            return named
        means = [(v.dense[:, :-OTHERS] * mean_of_words(v.ids, words, rare)).sum(-1).mean() for v in (asked, found)]
        dense = 1 - sum(means) / 2
        lexical = sum(astray(v.weights, bm25_weights(v.ids, rare)) for v in (asked, found)) / 2
        loss = named["loss"] + recipe.anchor * dense + recipe.lexical * lexical
        return {**named, "anchor": dense, "lexical": lexical, "loss": loss}

    return losses
