"""m3rt against outputs of FlagReranker 1.4.2 and transformers 4.57.6 that are committed: their oracle without torch.

data/build_flagreranker_golden.py wrote them; test_reranker_parity.py compares with the packages themselves.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import DATA, write_checkpoint
from m3rt_export import export

from m3rt import M3Reranker

GOLDEN = json.loads((DATA / "flagreranker_golden.json").read_text("utf-8"))
PAIRS = [tuple(pair) for pair in GOLDEN["pairs"]]
KINDS = ["reranker", "bert-reranker"]
CASES = [(kind, record) for kind in KINDS for record in GOLDEN[kind]]
TOLERANCE = 2e-5


def limits(record: dict[str, Any]) -> dict[str, int]:
    return {name: record[name] for name in ("max_length", "query_max_length")}


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def models(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> dict[str, M3Reranker]:
    return {kind: M3Reranker(path, engine=request.param, threads=1) for kind, path in bundles.items()}


@pytest.mark.parametrize(("kind", "record"), CASES, ids=[f"{kind} {limits(record)}" for kind, record in CASES])
def test_pairs_are_packed_as_flagreranker_packs_them(
    bundles: dict[str, Path], kind: str, record: dict[str, Any]
) -> None:
    model = M3Reranker(bundles[kind], engine="onnxruntime", threads=1)
    rows = [model.tokenize(*pair, **limits(record)) for pair in PAIRS]
    assert rows == record["input_ids"]
    assert model.compute_score(PAIRS, **limits(record)).n_tokens.tolist() == list(map(len, rows))


@pytest.mark.parametrize(("kind", "record"), CASES, ids=[f"{kind} {limits(record)}" for kind, record in CASES])
def test_fp32_gives_flagrerankers_scores(models: dict[str, M3Reranker], kind: str, record: dict[str, Any]) -> None:
    scores = models[kind].compute_score(PAIRS, **limits(record))
    np.testing.assert_allclose(scores.values, record["scores"], atol=TOLERANCE)
    normalized = models[kind].compute_score(PAIRS, normalize=True, **limits(record))
    np.testing.assert_allclose(normalized.values, record["normalized"], atol=TOLERANCE)


def test_int8_keeps_flagrerankers_order(int8_bundle: Path) -> None:
    record = GOLDEN["reranker"][0]
    scores = M3Reranker(int8_bundle, engine="onnxruntime", threads=1).compute_score(PAIRS, max_length=128)
    # Of 32 channels with random weights; a trained model's 1024 give more.
    assert np.corrcoef(scores.values, record["scores"])[0, 1] > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_every_logit_of_a_classifier_of_several_labels_is_transformers(tmp_path: Path, kind: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind, labels=3)
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp32")
    expected = GOLDEN[f"{kind} of 3 labels"]
    found = M3Reranker(bundle.path, threads=1).logits(PAIRS[: len(expected)], query_max_length=120)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
