"""The table and the layers of a new student, before any training: run with `pytest -m parity`."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences
from m3rt_export.compact.digits import packed
from m3rt_export.compact.products import Product

from m3rt.errors import InputError

torch: Any = pytest.importorskip("torch")

# ruff: noqa: E402  (these imports need PyTorch, so they come after its check)
from m3rt_distill.constants import FORMULAS
from m3rt_distill.recipe import Stage
from m3rt_distill.start.channels import SCALAR_CHANNELS, student_table, whiten
from m3rt_distill.start.layers import initialise
from m3rt_distill.student.formulas import mean_of_words, place_weights
from m3rt_distill.student.model import Student
from m3rt_distill.training.batches import pad
from m3rt_distill.training.run import train
from m3rt_distill.training.stages import together_losses
from students import RARE, RARITY, SHAPE, directions, lessons, recipe, table, views

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def student() -> Student:
    return initialise(SHAPE, table())


def test_a_student_starts_close_to_the_mean_that_it_is_held_to(student: Student) -> None:
    with torch.no_grad():
        found = views(student, sentences()[:30])
        words = table().rows[:, :-SCALAR_CHANNELS]
        mean = mean_of_words(found.ids, words, torch.from_numpy(RARITY))
        plain = torch.nn.functional.normalize((words[found.ids] * (found.ids > 3)[..., None]).sum(dim=1), dim=-1)
    dense = found.dense[:, :-SCALAR_CHANNELS]
    assert (dense * mean).sum(-1).mean() > 0.95
    assert (plain * mean).sum(-1).mean() < 0.9  # a start without weights would have this cosine


def test_a_start_weighs_words_as_the_mean_does(student: Student) -> None:
    ids = pad([np.array([0, *list(range(50, 56)) * 9, *list(range(60, 70)) * 3, *range(80, 120), 2], np.int32)])
    with torch.no_grad():
        states = student.backbone.encoder["layer"][0](student.backbone.embeddings(ids), None)
        attention = student.backbone.encoder["layer"][1].attention["self"]
        query, key = (
            linear(x).view(x.shape[1], SHAPE.heads, -1).transpose(0, 1)
            for linear, x in ((attention.query, states[:, :1]), (attention.key, states))
        )
        found = (query @ key.transpose(1, 2) / math.sqrt(key.shape[-1])).softmax(-1)[:, 0, 1:-1]
    inner = ids[0, 1:-1]
    times = (inner[:, None] == inner).sum(dim=1)
    wanted = torch.from_numpy(RARITY)[inner] / (times + FORMULAS.saturation) * place_weights(len(inner))
    ratio = found / found.sum(dim=1, keepdim=True) / (wanted / wanted.sum())
    assert ratio.log().square().mean().sqrt() < 0.3
    assert wanted.log().std() > 0.6  # so the words' weights do differ
    assert states[0, 0].abs().max() < 1e-2  # <s> has gathered nothing yet


@pytest.mark.parametrize("heads", [2, 8])
def test_heads_and_channels_that_start_as_zeros_stay_zeros(heads: int, tmp_path: Path) -> None:
    student = initialise(replace(SHAPE, heads=heads), table())
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    step = together_losses(student, lessons(), recipe(), RARE, "cpu")
    train(student, Stage(4, 300, 1e-3, 1), step, tmp_path / "run.pt", "together")
    layers = student.backbone.encoder["layer"]
    values, keys = (layers[i].attention["self"] for i in (0, 1))
    width = SHAPE.hidden // heads
    assert not values.value.weight[width:].any()
    assert not layers[0].attention["output"].dense.weight[:, width:].any()
    for linear in (keys.query, keys.key):
        assert not linear.weight.view(heads, width, -1)[:, 16:].any()
    moved = [name for name, tensor in student.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(moved) > len(before) / 2


def test_a_bags_direction_and_signs_are_in_a_students_table() -> None:
    found = table().rows
    words, signs = found[4:, :30], found[4:, 30:-SCALAR_CHANNELS]
    near = torch.nn.functional.cosine_similarity(words, directions()[4:, :30])
    assert near.mean() > 0.93  # five steps a channel
    assert near.min() > 0.7  # outliers are cut off
    assert len(signs.abs().unique()) == 1
    assert not signs.sign().sum(dim=1).any()
    assert not found[0].any()


def test_all_rows_of_words_are_as_long() -> None:
    normal = torch.randn(SHAPE.vocab, 255, generator=torch.Generator().manual_seed(0))
    lengths = student_table(normal, RARITY, 768, np.arange(SHAPE.vocab)).rows[:, :-SCALAR_CHANNELS].norm(dim=1)[1:]
    assert lengths.std() / lengths.mean() < 0.02


def test_a_hidden_size_without_room_is_refused() -> None:
    with pytest.raises(InputError, match="hidden is 10 for 32 components, expected at least 13"):
        student_table(directions(), RARITY, 10, np.arange(SHAPE.vocab))
    assert student_table(directions(), RARITY, 13, np.arange(SHAPE.vocab)).words == 3


def test_pieces_of_one_sense_share_their_signs_and_nothing_else() -> None:
    senses = np.arange(SHAPE.vocab)
    senses[[20, 30]] = 10
    found = student_table(directions(), RARITY, 512, senses).rows  # so wide that no two senses have the same by chance
    signs, words = found[:, 30:-SCALAR_CHANNELS], found[:, :30]
    assert torch.equal(signs[20], signs[10])
    assert torch.equal(signs[30], signs[10])
    assert len(torch.unique(signs[4:], dim=0)) == SHAPE.vocab - 4 - 2
    assert not torch.equal(words[20], words[10])
    kept = packed(found.numpy())
    assert kept is not None
    assert any(isinstance(run, Product) and run.which is not None for run in kept.runs)


def test_whitened_rows_differ_as_much_in_every_direction() -> None:
    def extent(words: Any) -> float:
        scale = torch.linalg.svdvals(words[4:] - words[4:].mean(dim=0))
        return float(scale[0] / scale[-1])

    narrow = torch.from_numpy(lessons().pieces * np.geomspace(1, 0.05, 32, dtype=np.float32))
    assert extent(narrow) > 10
    assert extent(whiten(narrow)) < 1.2
