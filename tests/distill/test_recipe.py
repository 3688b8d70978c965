"""A recipe makes a student by one command, and a bad one is one line: run with `pytest -m parity`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences
from click.testing import CliRunner
from m3rt_export import export

from m3rt import M3Encoder
from m3rt.errors import InputError

torch: Any = pytest.importorskip("torch")

# ruff: noqa: E402  (these imports need PyTorch, so they come after its check)
from m3rt_distill.__main__ import main
from m3rt_distill.data.lessons import Lessons
from m3rt_distill.data.vocabulary import Vocabulary
from m3rt_distill.pipeline import Pipeline
from m3rt_distill.recipe import Recipe
from m3rt_distill.start import dictionary
from m3rt_distill.start.alignment import align_languages
from m3rt_distill.start.channels import student_table, whiten
from m3rt_distill.student import checkpoint

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


def write_data(directory: Path) -> Path:
    """Pairs of one data set, "set", in the directory of a recipe's data."""
    (directory / "set").mkdir(parents=True)
    rows = [{"a": a, "b": a.upper(), "lang_a": "en", "lang_b": "de"} for a in sentences()]
    (directory / "set" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return directory


@pytest.mark.parametrize("stages", [2, 3])
def test_one_command_makes_a_student_that_exports_and_goes_on_where_it_was(
    stages: int, bundle_fp32: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    texts = sentences()
    data = write_data(tmp_path / "data")
    plan = tmp_path / "recipe.toml"
    plan.write_text(RECIPE if stages == 2 else WARMUP + RECIPE, "utf-8")
    command = ["train", str(plan), "--data", str(data), "--teacher", str(bundle_fp32), "--out"]
    run = CliRunner().invoke(main, [*command, str(tmp_path / "run")], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*.pt")}
    assert len(kept) == stages
    model = M3Encoder(export(tmp_path / "run" / "student", tmp_path / "bundle", precision="fp32").path, threads=1)
    words = torch.load(tmp_path / "run" / "bag.pt", weights_only=True)["mean"]["module.table.weight"]
    rarity = Vocabulary.read(tmp_path / "run" / "vocabulary").rarity
    kept_table = checkpoint.load(tmp_path / "run" / "student").backbone.embeddings.word_embeddings.weight
    read = Lessons.read(tmp_path / "run" / "lessons.npz")
    links = dictionary.find_links(read, len(rarity), 0)
    taught = dictionary.move_to_meanings(align_languages(whiten(words[:, :-1]), rarity, read, 0), links)
    taught = align_languages(taught, rarity, read, 0)
    meant = dictionary.senses_of(dictionary.add_nearest(links, taught, read, 0), len(rarity))
    assert torch.equal(kept_table, student_table(taught, rarity, 48, meant).rows)
    found = model.encode(texts[:2], return_sparse=True, return_colbert_vecs=True)
    assert found.dense_vecs.shape == (2, 48)
    assert found.colbert_vecs[0].shape[1] == 8
    assert all(found.lexical_weights)
    monkeypatch.setattr("m3rt_distill.training.run._STEPS_BETWEEN_SAVES", 10**9)  # so that only a step could write
    again = CliRunner().invoke(main, [*command, str(tmp_path / "run")], catch_exceptions=False)
    assert again.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_sizes_that_do_not_fit_are_an_error_before_anything_is_trained(bundle_fp32: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("hidden = 48", "hidden = 49"), "utf-8")
    plan, data = Recipe.read(tmp_path / "recipe.toml"), write_data(tmp_path / "data")
    with pytest.raises(InputError, match="hidden is 49, expected a multiple of heads 2"):
        Pipeline(plan, data, bundle_fp32, tmp_path / "run").run()
    assert not list((tmp_path / "run").glob("*.pt"))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("mean = 0.5", "mean = 1.5", "a mean of 0 to 1"),
        ("mean = 0.5", "careful = 0.0", "careful above 0"),
        ("substituted = 20", "substituted = -1", "substituted -1, passages 4: expected 0 or more"),
        ("layers = 1", "layer = 1", "has 'layer', expected only"),
        ("set = 1000", "other = 1000", "other has no pairs.jsonl and no texts.jsonl, expected one; check the path"),
    ],
)
def test_a_bad_recipe_is_one_line(before: str, after: str, line: str, bundle_fp32: Path, tmp_path: Path) -> None:
    assert before in RECIPE
    (tmp_path / "recipe.toml").write_text(RECIPE.replace(before, after), "utf-8")
    options = ["--data", str(tmp_path), "--teacher", str(bundle_fp32), "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "m3rt_distill", "train", str(tmp_path / "recipe.toml"), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("m3rt_distill: ")
    assert line in run.stderr
    assert run.stderr.count("\n") == 1


def test_lessons_of_another_version_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "lessons.npz", ids=np.zeros(1, np.int32))
    with pytest.raises(InputError, match=r"has no offsets, langs, .*remove it"):
        Lessons.read(tmp_path / "lessons.npz")


WARMUP = "warmup = { steps = 3, tokens = 400, rate = 1e-3, warmup = 1 }"

RECIPE = """
langs = ["en", "de"]
vocabulary = 200
components = 16
hidden = 48
colbert = 8
layers = 1
heads = 2
ffn = 16
positions = 66
epsilon = 0.1
substituted = 20
passages = 4
characters = [30, 200]
bag = { steps = 3, tokens = 400, rate = 1e-3, warmup = 1, mean = 0.5 }
together = { steps = 3, tokens = 400, rate = 1e-3, warmup = 1, mean = 0.5 }
temperatures = { dense = 0.05, sparse = 0.5, colbert = 0.05 }
weights = { dense = 1.0, sparse = 0.3, colbert = 1.0 }
[sets]
set = 1000
"""
