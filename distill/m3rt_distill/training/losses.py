"""Scores of the three views over a batch, and the losses of BGE-M3's self-knowledge distillation.

Source: arXiv:2402.03216, section 3.2 (scores) and 3.3 (losses). Scores are (queries, passages) matrices whose diagonal,
or `positive` column, is the true pair.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..recipe import PerView
from ..student.model import HeadOutputs

_MASKED_LOGIT = -1e4  # a text beside itself gets it: low enough for a chance of 0, and 0 * -inf would be NaN


class Scores(NamedTuple):
    """One (q, p) matrix for each view."""

    dense: Tensor
    sparse: Tensor
    colbert: Tensor


def scores(queries: HeadOutputs, passages: HeadOutputs, vocab: int) -> Scores:
    """Score every query against every passage, as m3rt.compute_score would.

    dense: cosine. sparse: sum over shared ids of the product of weights, repeated ids counting by their largest.
    colbert: mean over the query's tokens of the largest cosine among the passage's.
    """
    return Scores(
        dense=queries.dense @ passages.dense.T,
        sparse=sparse_scores(queries, passages, vocab),
        colbert=colbert_scores(queries.colbert, passages.colbert),
    )


def sparse_scores(queries: HeadOutputs, passages: HeadOutputs, vocab: int) -> Tensor:
    """Return (q, p) lexical scores, computed over the ids of the queries alone, since no other id can match."""
    ids = torch.unique(queries.ids)
    column = ids.new_full((vocab,), -1)
    column[ids] = torch.arange(len(ids), device=ids.device)
    return _term_matrix(queries, column, len(ids)) @ _term_matrix(passages, column, len(ids)).T


def _term_matrix(outputs: HeadOutputs, column_of_id: Tensor, columns: int) -> Tensor:
    """Return (b, columns): the largest weight of each column's id; column_of_id (vocab,) is -1 for other ids."""
    column = column_of_id[outputs.ids]  # (b, s)
    weights = torch.where(column >= 0, outputs.lexical, 0.0)
    matrix = weights.new_zeros(len(column), columns)
    return matrix.scatter_reduce(1, column.clamp(min=0), weights, "amax")


def colbert_scores(queries: Tensor, passages: Tensor) -> Tensor:
    """Return (q, p): the mean over query tokens of the largest cosine to a passage's tokens.

    queries (q, m, d) and passages (p, n, d) are unit vectors, and zeros where there is padding. Products and maxima are
    in bfloat16, whose error the mean evens out: they take a fifth of float32's time on a CPU.
    """
    q, m, _ = queries.shape
    similarity = queries.flatten(0, 1).bfloat16() @ passages.flatten(0, 1).bfloat16().T  # (q m, p n)
    similarity = similarity.view(q, m, *passages.shape[:2])
    real = passages.abs().amax(dim=-1) > 0
    # max and not amax: the gradient of amax goes through all equal values, and in bfloat16 many are equal.
    best = similarity.masked_fill(~real, -1.0).max(dim=-1).values.float()  # (q, m, p)
    tokens = queries.abs().amax(dim=-1) > 0
    return (best * tokens[..., None]).sum(dim=1) / tokens.sum(dim=1).clamp(min=1)[:, None]


def ensemble(logits: Scores, weights: PerView) -> Tensor:
    """Return the paper's s_inter: the weighted sum of the views, which is the teacher of self-distillation."""
    return sum((w * s for w, s in zip(weights, logits, strict=True)), torch.zeros_like(logits.dense))


def info_nce(logits: Tensor, positive: Tensor | None = None) -> Tensor:
    """Return InfoNCE of (q, p) logits; positive (q,) is the true passage's column, by default the diagonal."""
    return functional.cross_entropy(
        logits, torch.arange(len(logits), device=logits.device) if positive is None else positive
    )


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Return the cross-entropy of the distribution over passages to the teacher's, which gets no gradient."""
    return -(teacher.detach().softmax(dim=-1) * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


def self_distillation(scored: Scores, temperatures: PerView, weights: PerView, share: float) -> dict[str, Tensor]:
    """Return each head's InfoNCE and the distillation from the ensemble, as {name: scalar}; training minimises "loss".

    Scores are divided by their view's temperature first, so that the three are alike in scale. share: weight of the
    distillation term beside InfoNCE, 1 in the paper.
    """
    logits = Scores(*(s / t for s, t in zip(scored, temperatures, strict=True)))
    teacher = ensemble(logits, weights)
    terms = {name: info_nce(s) for name, s in zip(Scores._fields, logits, strict=True)}
    terms["ensemble"] = info_nce(teacher)
    total = sum(weights)
    hard = (sum(w * terms[n] for n, w in zip(Scores._fields, weights, strict=True)) + terms["ensemble"]) / (total + 1)
    soft = sum(w * distillation(s, teacher) for s, w in zip(logits, weights, strict=True)) / total
    return {**terms, "follow": soft, "loss": (hard + share * soft) / (1 + share)}


def dense_warmup(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Distil the cosines of unit vectors (b, h) within their batch from the cosines of the teacher's vectors (b, d)."""
    itself = torch.eye(len(student), dtype=torch.bool, device=student.device)
    logits, teacher = ((x @ x.T / temperature).masked_fill(itself, _MASKED_LOGIT) for x in (student, target))
    return distillation(logits, teacher)
