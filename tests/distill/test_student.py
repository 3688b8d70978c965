"""Students and checkpoints compute in PyTorch as m3rt does: run with `pytest -m parity`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint, xlm_roberta_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from m3rt_export import export

from m3rt import M3Encoder
from m3rt.errors import CheckpointError

torch: Any = pytest.importorskip("torch")

# ruff: noqa: E402  (these imports need PyTorch, so they come after its check)
from m3rt_distill.start.layers import initialise
from m3rt_distill.student import checkpoint
from m3rt_distill.student.formulas import bm25_weights, mean_of_words
from m3rt_distill.student.model import Student
from m3rt_distill.training.batches import pad
from students import SHAPE, table, views

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def student() -> Student:
    return initialise(SHAPE, table())


def test_an_exported_student_computes_in_m3rt_what_it_computed_in_torch(student: Student, tmp_path: Path) -> None:
    checkpoint.save(student, json.loads(xlm_roberta_tokenizer().to_str()), tmp_path / "student")
    model = M3Encoder(export(tmp_path / "student", tmp_path / "bundle", precision="fp32").path, threads=1)
    texts = sentences()[:20]
    out = model.encode(texts, return_sparse=True, return_colbert_vecs=True)
    with torch.no_grad():
        mine = views(student, texts)
    assert np.abs(mine.dense.numpy() - out.dense_vecs).max() < 1e-4
    for i, (vectors, weights) in enumerate(zip(out.colbert_vecs, out.lexical_weights, strict=True)):
        assert np.abs(mine.colbert[i, : len(vectors)].numpy() - vectors).max() < 1e-4
        found: dict[int, float] = {}
        for token, weight in zip(mine.ids[i].tolist(), mine.lexical[i].tolist(), strict=True):
            if weight > 0:
                found[token] = max(found.get(token, 0.0), weight)
        assert found.keys() == weights.keys()
        assert max(abs(found[token] - weights[token]) for token in found) < 1e-4


def test_a_foreign_checkpoint_is_read_as_m3rt_reads_it(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "tiny")
    model = M3Encoder(export(source, tmp_path / "bundle", precision="fp32").path, threads=1)
    texts = sentences()[:10]
    with torch.no_grad():
        mine = views(checkpoint.load(source), texts)
    assert np.abs(mine.dense.numpy() - model.encode(texts).dense_vecs).max() < 1e-4


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected xlm-roberta"):
        checkpoint.load(write_checkpoint(tmp_path / "bert", kind="bert"))


def test_lexical_targets_are_bm25s_terms() -> None:
    ids = pad([np.array(row, np.int32) for row in ([0, 5, 6, 5, 2], [0, 7, 2])])
    rarity = torch.arange(10, dtype=torch.float32)
    found = bm25_weights(ids, rarity)
    for row, text in zip(found, ids.tolist(), strict=True):
        words = [t for t in text if t > 3]
        for weight, token in zip(row.tolist(), text, strict=True):
            tf = words.count(token)
            expected = 0.13 * token**0.5 * 2.2 * tf / (tf + 1.2 * (0.25 + 0.75 * len(words) / 150)) if token > 3 else 0
            assert weight == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.lists(st.integers(4, 12), max_size=12), min_size=1, max_size=4), st.integers(0, 999))
def test_the_mean_of_words_is_that_of_plain_loops(texts: list[list[int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    table, rarity = random.normal(size=(13, 8)).astype(np.float32), random.uniform(0.5, 9, 13).astype(np.float32)
    ids = pad([np.array([0, *text, 2], np.int32) for text in texts])
    found = mean_of_words(ids, torch.from_numpy(table), torch.from_numpy(rarity)).numpy()
    for vector, text in zip(found, texts, strict=True):
        expected = np.zeros(8)
        for place, word in enumerate(text, 1):
            weight = rarity[word] * 3.5 / (text.count(word) + 2.5) * (0.3 + 0.7 / (1 + place / 60))
            expected += weight * table[word] / np.linalg.norm(table[word])
        assert vector == pytest.approx(expected / max(np.linalg.norm(expected), 1e-12), abs=1e-5)
