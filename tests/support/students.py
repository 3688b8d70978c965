"""A small student, its recipe and its lessons, for the tests of m3rt_distill; they need PyTorch."""

from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, xlm_roberta_tokenizer

torch: Any = pytest.importorskip("torch")

# ruff: noqa: E402  (these imports need PyTorch, so they come after its check)
from m3rt_distill.data.lessons import Lessons
from m3rt_distill.recipe import PerView, Recipe, Stage
from m3rt_distill.start.channels import StudentTable, student_table, whiten
from m3rt_distill.student.model import Shape, Student
from m3rt_distill.training.bag import starting_table
from m3rt_distill.training.batches import pad

SHAPE = Shape(
    vocab=xlm_roberta_tokenizer().get_vocab_size(), hidden=128, layers=2, heads=2, ffn=64, positions=130, epsilon=0.1,
    colbert=48,
)  # fmt: skip

RARE = np.ones(SHAPE.vocab, np.float32)
RARITY = np.linspace(0, 9, SHAPE.vocab, dtype=np.float32)


def lessons(passages: int = 12) -> Lessons:
    """Sentences paired with themselves and, as passages, with their neighbours; random targets."""
    texts = [np.array(xlm_roberta_tokenizer().encode(text).ids[:128], np.int32) for text in sentences()]
    n = len(texts)
    random = np.random.default_rng(0)
    pairs = np.stack([np.arange(n), np.roll(np.arange(n), 1)], axis=1).astype(np.int32)
    vectors = random.normal(size=(n, 32)).astype(np.float16)
    return Lessons(
        ids=np.concatenate(texts),
        offsets=np.concatenate([[0], np.cumsum([len(text) for text in texts])]),
        langs=np.zeros(n, np.int16),
        pairs=pairs,
        target=np.arange(n, dtype=np.int32),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        members=random.integers(0, n, (passages, 4, 2)).astype(np.int32),
        pieces=random.normal(size=(SHAPE.vocab, 32)).astype(np.float32),
    )


def recipe(steps: int = 6) -> Recipe:
    stage = Stage(steps, tokens=300, rate=1e-3, warmup=2, mean=0.5)
    return Recipe(
        sets={},
        langs=("en",),
        vocabulary=SHAPE.vocab,
        components=32,
        hidden=SHAPE.hidden,
        colbert=48,
        layers=SHAPE.layers,
        heads=SHAPE.heads,
        ffn=SHAPE.ffn,
        positions=SHAPE.positions,
        epsilon=SHAPE.epsilon,
        substituted=0,
        passages=1,
        characters=(1, 2),
        bag=stage,
        warmup=stage,
        together=stage,
        temperatures=PerView(0.05, 0.5, 0.05),
        weights=PerView(1.0, 0.3, 1.0),
    )


def directions() -> Any:
    return whiten(starting_table(lessons().pieces, RARITY)[:, :-1])


def table() -> StudentTable:
    return student_table(directions(), RARITY, SHAPE.hidden, np.arange(SHAPE.vocab))


def views(student: Student, texts: list[str]) -> Any:
    return student(pad([np.array(xlm_roberta_tokenizer().encode(text).ids[:128], np.int32) for text in texts]))
