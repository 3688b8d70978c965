"""Every command and class uses m3-tiny, the model in the package, when no model is named."""

from pathlib import Path

import pytest

import m3rt
from m3rt.bundle import open_bundle
from m3rt.cli import main

TEXTS = ["The tower is 333 metres high.", "Ein Rezept für Apfelkuchen", "東京タワーの高さ"]


def test_an_encoder_without_a_model_is_m3_tiny_and_says_so() -> None:
    model = m3rt.M3Encoder()
    assert "m3-tiny" in repr(model)
    assert model.manifest.kind == "m3"
    assert model.encode(TEXTS, return_sparse=True, return_colbert_vecs=True).dense_vecs.shape == (3, model.manifest.dim)


def test_a_directory_of_that_name_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m3-tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_bundle("m3-tiny").path == open_bundle().path != Path("m3-tiny")
    with pytest.raises(m3rt.BundleError, match=r"has no m3rt\.json"):
        open_bundle("./m3-tiny")


def test_an_index_without_a_model_finds_a_text_by_its_words(tmp_path: Path) -> None:
    index = m3rt.HybridIndex.create(tmp_path / "index", colbert="int8")
    index.add(["tower", "cake", "東京"], TEXTS)
    for query, wanted in (("How high is the tower?", "tower"), ("Apfelkuchen backen", "cake"), ("東京タワー", "東京")):
        assert index.search(query, k=1)[0].id == wanted


@pytest.mark.parametrize("arguments", [["encode", "a text"], ["info"], ["verify"]])
def test_a_command_without_a_model_uses_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("M3RT_MODEL", raising=False)
    assert main(arguments) == 0
    assert capsys.readouterr().out
