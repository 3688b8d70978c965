"""One resumable training loop for all stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from m3rt.errors import InputError
from m3rt.host.files import replacing

from ..constants import TRAINING
from ..recipe import Stage

_STEPS_BETWEEN_SAVES = 50

StepLosses = dict[str, Tensor]


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


def train(model: nn.Module, stage: Stage, losses: Callable[[int], StepLosses], path: Path, name: str) -> StageRun:
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
