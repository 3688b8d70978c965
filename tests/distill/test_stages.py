"""Batches and the stages of a training: run with `pytest -m parity`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_checkpoint
from hypothesis import given
from hypothesis import strategies as st

from m3rt.errors import InputError

torch: Any = pytest.importorskip("torch")

# ruff: noqa: E402  (these imports need PyTorch, so they come after its check)
from m3rt_distill.recipe import Stage
from m3rt_distill.start.layers import initialise
from m3rt_distill.student import checkpoint
from m3rt_distill.student.model import Student
from m3rt_distill.training.batches import SearchBatches, TeacherBatches, thin
from m3rt_distill.training.run import train
from m3rt_distill.training.stages import together_losses, warmup_losses
from students import RARE, RARITY, SHAPE, lessons, recipe, table

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def student() -> Student:
    return initialise(SHAPE, table())


def test_an_epoch_has_every_item_once_and_no_batch_beyond_its_tokens() -> None:
    batches = TeacherBatches(lessons(), 300, seed=0)
    rows = np.concatenate(batches.epoch(0))
    assert sorted(rows.tolist()) == list(range(len(rows)))
    assert max(int((batches.batch(r).ids != 1).sum()) for r in batches.epoch(0)) < 300 + 128


def test_no_pair_is_its_own_negative_and_the_diagonal_is_the_answer() -> None:
    batches = SearchBatches(lessons(), 300, seed=0)
    for step in range(6):
        queries, passages, duplicates = batches.batch(step)
        assert len(queries) == len(passages) == len(duplicates)
        assert not duplicates.diagonal().any()


@given(st.lists(st.integers(4, 99), min_size=0, max_size=30), st.integers(0, 999))
def test_a_thinned_text_keeps_its_order_and_its_ends(inner: list[int], seed: int) -> None:
    ids = np.array([0, *inner, 2], np.int32)
    found = thin(ids, np.random.default_rng(seed)).tolist()
    assert found[0] == 0
    assert found[-1] == 2
    rest = iter(inner)
    assert all(token in rest for token in found[1:-1])
    assert len(found) > 2 or not inner


@pytest.mark.parametrize("stage", ["warmup", "together"])
def test_an_interrupted_stage_ends_like_one_that_was_not(stage: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("m3rt_distill.training.run._STEPS_BETWEEN_SAVES", 2)
    torch.set_num_threads(1)

    def run(path: Path, steps: int, stop: int | None = None) -> Student:
        student = initialise(SHAPE, table())
        plan = recipe(steps)
        if stage == "warmup":
            step = warmup_losses(student, lessons(), plan.together, 0, RARE, "cpu")
        else:
            step = together_losses(student, lessons(), plan, RARE, "cpu")

        def losses_until(number: int) -> Any:
            if number == stop:
                raise KeyboardInterrupt
            return step(number)

        train(student, plan.together, losses_until, path, stage)
        return student

    whole = run(tmp_path / "whole.pt", 6)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.pt", 6, stop=5)
    again = run(tmp_path / "cut.pt", 6)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_stage_ends_with_the_running_mean_of_its_weights(tmp_path: Path, student: Student) -> None:
    step, weights = together_losses(student, lessons(), recipe(), RARE, "cpu"), []

    def losses_after(number: int) -> Any:
        weights.append(student.colbert_linear.weight.detach().clone())
        return step(number)

    train(student, recipe().together, losses_after, tmp_path / "run.pt", "together")
    kept = torch.load(tmp_path / "run.pt", weights_only=True)["model"]
    expected = weights[1]
    for found in (*weights[2:], kept["colbert_linear.weight"]):
        expected = 0.5 * expected + 0.5 * found
    assert torch.allclose(student.colbert_linear.weight, expected, atol=1e-6)
    assert not torch.allclose(student.colbert_linear.weight, kept["colbert_linear.weight"], atol=1e-4)


def test_a_mean_cannot_be_asked_for_after_the_start(tmp_path: Path, student: Student) -> None:
    step = together_losses(student, lessons(), recipe(), RARE, "cpu")
    plan = recipe(2).together
    train(student, replace(plan, mean=0.0), step, tmp_path / "run.pt", "together")
    with pytest.raises(InputError, match="has no running mean, expected one"):
        train(student, plan, step, tmp_path / "run.pt", "together")


def test_training_lowers_the_loss_of_every_head(tmp_path: Path, student: Student) -> None:
    step = together_losses(student, lessons(), recipe(), RARE, "cpu")
    run = train(student, Stage(60, 300, 3e-3, 5), step, tmp_path / "run.pt", "together")
    for name in ("dense", "sparse", "colbert"):
        start, end = (np.mean([row[name] for row in part]) for part in (run.history[:9], run.history[-9:]))
        assert end < start, name


def test_careful_tensors_learn_at_a_share_of_the_rate(student: Student, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    step = together_losses(student, lessons(), recipe(), RARE, "cpu")
    train(student, Stage(1, 300, 1e-3, 1, careful=0.1), step, tmp_path / "run.pt", "together")
    for name, share in (("colbert_linear.weight", 1.0), ("backbone.encoder.layer.1.attention.self.value.weight", 0.1)):
        moved = (student.state_dict()[name] - before[name]).abs()
        assert moved[moved > 0].median() == pytest.approx(share * 1e-3, rel=0.05)  # Adam's first step is the rate


def test_heads_alone_leave_the_encoder_as_it_was(tmp_path: Path) -> None:
    student = checkpoint.load(write_checkpoint(tmp_path / "tiny"))
    student.backbone.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    step = together_losses(student, lessons(), recipe(), RARE, "cpu")
    train(student, Stage(4, 300, 1e-3, 1), step, tmp_path / "run.pt", "heads")
    changed = {name for name, tensor in student.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"sparse_linear.weight", "sparse_linear.bias", "colbert_linear.weight", "colbert_linear.bias"}


def test_lexical_weights_are_held_to_bm25s(tmp_path: Path) -> None:
    def end(lexical: float) -> float:
        student = initialise(SHAPE, table())
        step = together_losses(student, lessons(), replace(recipe(), lexical=lexical), RARE, "cpu")
        path = tmp_path / f"{lexical}.pt"
        run = train(student, Stage(60, 300, 3e-3, 5), step, path, "together")
        return float(np.mean([row["lexical"] for row in run.history[-9:]]))

    assert end(10.0) < end(0.0) / 2


def test_dense_vectors_are_held_to_the_mean_of_words(tmp_path: Path) -> None:
    def end(anchor: float) -> float:
        student = initialise(SHAPE, table())
        student.backbone.embeddings.word_embeddings.requires_grad_(False)
        step = together_losses(student, lessons(), replace(recipe(), anchor=anchor), RARITY, "cpu")
        path = tmp_path / f"{anchor}.pt"
        run = train(student, Stage(60, 300, 3e-3, 5), step, path, "together")
        return float(np.mean([row["anchor"] for row in run.history[-9:]]))

    assert end(5.0) < end(0.0) / 2
