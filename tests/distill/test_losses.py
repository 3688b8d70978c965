"""Scores and losses of a batch, against plain loops: run with `pytest -m parity`."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch")

# ruff: noqa: E402  (these imports need PyTorch, so they come after its check)
from m3rt_distill.student.model import HeadOutputs
from m3rt_distill.training import losses
from m3rt_distill.training.batches import pad

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_batch_scores_are_those_of_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    sides = []
    for count in random.integers(1, 5, 2):
        rows = [random.integers(4, 30, random.integers(1, 9)).astype(np.int32) for _ in range(count)]
        ids = pad([np.concatenate([[0], row, [2]]).astype(np.int32) for row in rows])
        generator = torch.Generator().manual_seed(seed)
        lexical = torch.rand(ids.shape, generator=generator) * (ids > 3)
        colbert = torch.nn.functional.normalize(torch.randn(*ids[:, 1:].shape, 8, generator=generator), dim=-1)
        colbert = colbert * (ids[:, 1:, None] != 1)
        dense = torch.nn.functional.normalize(torch.randn(count, 8, generator=generator), dim=-1)
        sides.append(HeadOutputs(dense, ids, lexical, colbert))
    asked, found = sides
    scored = losses.scores(asked, found, 30)
    for i in range(len(asked.ids)):
        for j in range(len(found.ids)):
            words = [
                {t: max(w for u, w in row if u == t) for t, _ in row}
                for row in (
                    list(zip(v.ids[k].tolist(), v.lexical[k].tolist(), strict=True))
                    for v, k in ((asked, i), (found, j))
                )
            ]
            expected = sum(words[0][t] * words[1][t] for t in words[0].keys() & words[1].keys())
            assert scored.sparse[i, j].item() == pytest.approx(expected, abs=1e-5)
            q, p = asked.colbert[i][asked.ids[i, 1:] != 1], found.colbert[j][found.ids[j, 1:] != 1]
            expected = (q @ p.T).amax(1).mean().item()
            assert scored.colbert[i, j].item() == pytest.approx(expected, abs=6e-3)  # bfloat16: 8 bits of each factor


def test_following_a_teacher_is_least_when_the_student_is_the_teacher() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses.distillation(logits, logits).backward()
    assert logits.grad.abs().max() < 1e-6


def test_no_gradient_reaches_a_head_through_the_ensemble() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 4, generator=generator, requires_grad=True) for _ in range(2))
    losses.distillation(student, teacher).backward()
    assert teacher.grad is None


def test_warm_up_asks_for_the_teachers_neighbours_not_for_its_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.nn.functional.normalize(torch.randn(12, 8, generator=generator), dim=-1)
    turned = torch.cat([teacher, torch.zeros(12, 4)], dim=1) @ torch.linalg.qr(torch.randn(12, 12))[0]
    other = torch.nn.functional.normalize(torch.randn(12, 12, generator=generator), dim=-1).requires_grad_()
    best = losses.dense_warmup(turned, teacher, 0.05)
    assert best == pytest.approx(float(losses.dense_warmup(teacher, teacher, 0.05)), abs=1e-4)
    losses.dense_warmup(other, teacher, 0.05).backward()
    assert float(losses.dense_warmup(other, teacher, 0.05)) > float(best) + 0.1
    assert other.grad.abs().max() > 0
