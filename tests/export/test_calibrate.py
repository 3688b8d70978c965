"""Calibration: the inner activations of texts do not depend on how the texts are batched."""

from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from m3rt_export.checkpoint.config import read_config
from m3rt_export.checkpoint.source import resolve
from m3rt_export.graph import calibrate
from m3rt_export.graph.layers import Activations
from m3rt_export.tensors.reader import open_tensors
from m3rt_export.tokenizer_files import write_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "m3")


def calibrated(folder: Path, scratch: Path) -> list[Activations]:
    checkpoint = resolve(str(folder), revision=None, dense_only=True)
    config = read_config(checkpoint.path, checkpoint.model_id)
    scratch.mkdir()
    write_tokenizer(checkpoint.path, scratch, config)
    return list(calibrate.calibrate(open_tensors(checkpoint.path).require, config, scratch))


@pytest.mark.parametrize("batches", [5, 1000])
def test_texts_of_about_one_length_together_give_the_activations_of_a_single_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    found = []
    for count in (1, batches):
        monkeypatch.setattr(calibrate, "_BATCHES", count)
        found.append([activation for layer in calibrated(folder, tmp_path / str(count)) for activation in layer])
    for together, apart in zip(*found, strict=True):
        np.testing.assert_allclose(apart.moments, together.moments, rtol=1e-3, atol=1e-5)
        assert (apart.absmax is None) == (together.absmax is None)
        if together.absmax is not None:
            np.testing.assert_allclose(apart.absmax, together.absmax, rtol=1e-3)
