"""Scores of the three views over a batch, and the losses of BGE-M3's self-knowledge distillation.

Source: arXiv:2402.03216, section 3.2 (scores) and 3.3 (losses). Scores are (queries, passages) matrices whose diagonal,
or `positive` column, is the true pair.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .student import Views


class Scores(NamedTuple):
    """One (q, p) matrix a view."""

    dense: Tensor
    sparse: Tensor
    colbert: Tensor


class Weights(NamedTuple):
    """How much each view counts."""

    dense: float
    sparse: float
    colbert: float


def scores(queries: Views, passages: Views, vocab: int) -> Scores:
    """Every query against every passage, as m3rt.compute_score would score them.

    dense: cosine. sparse: sum over shared ids of the product of weights, repeated ids counting by their largest.
    colbert: mean over the query's tokens of the largest cosine among the passage's.
    """
    return Scores(
        dense=queries.dense @ passages.dense.T,
        sparse=sparse_scores(queries, passages, vocab),
        colbert=colbert_scores(queries.colbert, passages.colbert),
    )


def sparse_scores(queries: Views, passages: Views, vocab: int) -> Tensor:
    """(q, p) lexical scores, over the ids that the queries have only: nothing else can match."""
    ids = torch.unique(queries.ids)
    column = ids.new_full((vocab,), -1)
    column[ids] = torch.arange(len(ids), device=ids.device)
    return _rows(queries, column, len(ids)) @ _rows(passages, column, len(ids)).T


def _rows(views: Views, column: Tensor, columns: int) -> Tensor:
    found = column[views.ids]  # (b, s)
    weights = torch.where(found >= 0, views.weights, 0.0)
    rows = weights.new_zeros(len(found), columns)
    return rows.scatter_reduce(1, found.clamp(min=0), weights, "amax")


def colbert_scores(queries: Tensor, passages: Tensor) -> Tensor:
    """(q, p) mean over query tokens of the max over passage tokens of (q, m, d) and (p, n, d); padding is zero rows.

    Products and maxima are in bfloat16, whose error the mean evens out: a fifth of float32's time on a CPU.
    """
    q, m, _ = queries.shape
    similarity = queries.flatten(0, 1).bfloat16() @ passages.flatten(0, 1).bfloat16().T  # (q m, p n)
    similarity = similarity.view(q, m, *passages.shape[:2])
    real = passages.abs().amax(dim=-1) > 0
    # max, not amax, whose gradient goes through all that are equal: in bfloat16 many are.
    best = similarity.masked_fill(~real, -1.0).max(dim=-1).values.float()  # (q, m, p)
    tokens = queries.abs().amax(dim=-1) > 0
    return (best * tokens[..., None]).sum(dim=1) / tokens.sum(dim=1).clamp(min=1)[:, None]


def ensemble(found: Scores, weights: Weights) -> Tensor:
    """s_inter: the weighted sum of the views, the teacher of self-distillation."""
    return sum((w * s for w, s in zip(weights, found, strict=True)), torch.zeros_like(found.dense))


def contrast(logits: Tensor, positive: Tensor | None = None) -> Tensor:
    """InfoNCE of (q, p) logits; positive (q,) is the true passage's column, by default the diagonal."""
    return functional.cross_entropy(
        logits, torch.arange(len(logits), device=logits.device) if positive is None else positive
    )


def follow(logits: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of the student's distribution over passages to the teacher's, through which no gradient flows."""
    return -(teacher.detach().softmax(dim=-1) * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


def self_distillation(found: Scores, temperatures: Weights, weights: Weights, share: float) -> dict[str, Tensor]:
    """Each head's InfoNCE and its cross-entropy to the ensemble, as {name: scalar}; "loss" is what to minimise.

    Scores are divided by their view's temperature first, so that the three are alike in scale. share: of the
    distillation term beside InfoNCE, 1 in the paper.
    """
    logits = Scores(*(s / t for s, t in zip(found, temperatures, strict=True)))
    teacher = ensemble(logits, weights)
    names = {name: contrast(s) for name, s in zip(Scores._fields, logits, strict=True)}
    names["ensemble"] = contrast(teacher)
    total = sum(weights)
    hard = (sum(w * names[n] for n, w in zip(Scores._fields, weights, strict=True)) + names["ensemble"]) / (total + 1)
    soft = sum(w * follow(s, teacher) for s, w in zip(logits, weights, strict=True)) / total
    return {**names, "follow": soft, "loss": (hard + share * soft) / (1 + share)}


def dense_warmup(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """How far the neighbours of unit vectors (b, h) within their batch are from those of the teacher's (b, d)."""
    itself = torch.eye(len(student), dtype=torch.bool, device=student.device)
    mine, theirs = ((x @ x.T / temperature).masked_fill(itself, -1e4) for x in (student, target))
    return follow(mine, theirs)
