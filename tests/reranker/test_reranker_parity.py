"""Rerankers against FlagReranker 1.4.2 and CrossEncoder themselves: run with `pytest -m parity`."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint
from m3rt_export import export
from test_reranker_compat import SIGNATURES, signature

from m3rt import M3Reranker
from m3rt.compat import FlagReranker

# Their own imports warn about each other.
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

LONGEST = 512
KINDS = ["reranker", "bert-reranker"]
ODD = ["", " ", "a", "🚀👍🏽", "typed </s> <s> [SEP] [CLS] <pad>", "語" * 30]


def mixed_pairs(count: int) -> list[tuple[str, str]]:
    """Pairs of 3 or 4 tokens to more than LONGEST."""
    drawn = random.Random(7)
    words = " ".join(sentences()).split()
    texts = [" ".join(words[:n]) for n in (0, 1, 3, 8, 20, 60, 150, 500)]
    return [(drawn.choice([*ODD, *texts]), drawn.choice([*ODD, *texts])) for _ in range(count)]


PAIRS = [("", ""), *mixed_pairs(60)]


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    positions = LONGEST + 2 * (request.param == "reranker")
    folder = tmp_path_factory.mktemp("checkpoint")
    return write_checkpoint(folder / request.param, kind=request.param, positions=positions)


@pytest.fixture(scope="module")
def flag(checkpoint: Path) -> Any:
    from FlagEmbedding import FlagReranker as Original

    return Original(str(checkpoint), use_fp16=False, devices="cpu", batch_size=16)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("bundle") / "fp32", precision="fp32").path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("limits", [(512, None), (512, 100), (64, None), (64, 64), (9, 2)], ids=str)
def test_scores_are_flagrerankers(flag: Any, bundle: Path, engine: str, limits: tuple[int, int | None]) -> None:
    options = dict(zip(("max_length", "query_max_length"), limits, strict=True))
    ours = M3Reranker(bundle, engine=engine, threads=1).compute_score(PAIRS, **options)
    found = float(np.abs(ours.values - flag.compute_score(PAIRS, **options)).max())
    print(engine, limits, f"{ours.n_tokens.min()}..{ours.n_tokens.max()} tokens", found)
    assert found <= 1e-4


def test_scores_of_pairs_up_to_8192_tokens_are_flagrerankers(tmp_path: Path) -> None:
    from FlagEmbedding import FlagReranker as Original

    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind="reranker", positions=8194)
    words = " ".join(sentences() * 400)
    pairs = [(words[:length], words[: 40 * length]) for length in (100, 400, 2000)] + [(words, "short")]
    options = {"max_length": 8192}
    ours = M3Reranker(export(checkpoint, tmp_path / "fp32", precision="fp32").path, threads=1)
    scores = ours.compute_score(pairs, **options)
    assert scores.n_tokens.max() == 8192
    theirs = Original(str(checkpoint), use_fp16=False, devices="cpu", batch_size=1).compute_score(pairs, **options)
    assert np.abs(scores.values - theirs).max() <= 1e-5


def test_the_drop_in_is_flagreranker(flag: Any, bundle: Path) -> None:
    ours = FlagReranker(bundle, threads=1)
    for options in ({}, {"normalize": True}, {"max_length": 40, "query_max_length": 10}):
        theirs = flag.compute_score(PAIRS, **options)
        found = ours.compute_score(PAIRS, **options)
        assert {type(score) for score in found} == {type(score) for score in theirs} == {float}
        np.testing.assert_allclose(found, theirs, atol=1e-4)
    assert ours.compute_score(PAIRS[3]) == pytest.approx(flag.compute_score(PAIRS[3]), abs=1e-4)


@pytest.mark.parametrize("form", ["{}{}", "{}\\n{}"])
def test_instructions_stand_where_flagreranker_puts_them(checkpoint: Path, bundle: Path, form: str) -> None:
    from FlagEmbedding import FlagReranker as Original

    options: dict[str, Any] = {
        "query_instruction_for_rerank": "Q:", "query_instruction_format": form,
        "passage_instruction_for_rerank": "P:", "passage_instruction_format": form, "max_length": 64, "devices": "cpu",
    }  # fmt: skip
    theirs, ours = Original(str(checkpoint), **options), FlagReranker(bundle, **options)
    np.testing.assert_allclose(ours.compute_score(PAIRS), theirs.compute_score(PAIRS), atol=1e-4)


@pytest.mark.parametrize("method", SIGNATURES)
def test_signatures_are_flagrerankers(flag: Any, method: str) -> None:
    assert signature(getattr(type(flag), method)) == SIGNATURES[method]


def test_scores_are_crossencoders(checkpoint: Path, tmp_path: Path) -> None:
    """Its own packing: pairs that need no cut are FlagReranker's; its export says which activation it has."""
    from sentence_transformers import CrossEncoder
    from torch import nn

    pairs = [(q, p) for q, p in PAIRS if len(q + p) < 600]
    theirs = CrossEncoder(str(checkpoint), device="cpu")
    theirs.save_pretrained(str(tmp_path / "saved"))
    ours = M3Reranker(export(tmp_path / "saved", tmp_path / "bundle", precision="fp32").path, threads=1)
    assert ours.manifest.classifier is not None
    assert ours.manifest.classifier.activation == "sigmoid"
    logits = theirs.predict(pairs, activation_fn=nn.Identity())
    np.testing.assert_allclose(ours.compute_score(pairs).values, logits, atol=1e-4)
    np.testing.assert_allclose(ours.compute_score(pairs, normalize=True).values, theirs.predict(pairs), atol=1e-4)
