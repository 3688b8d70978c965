"""m3rt agrees with committed outputs of FlagEmbedding 1.4.2 and transformers 4.57.6, an oracle without torch.

data/build_flagembedding_golden.py wrote them; test_parity.py compares with the packages themselves.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import DATA, write_checkpoint
from m3rt_export import export

from m3rt import M3Encoder

GOLDEN = json.loads((DATA / "flagembedding_golden.json").read_text("utf-8"))
RECORDS = GOLDEN["m3"]["texts"]
TOLERANCE = 2e-5
ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}


@pytest.mark.parametrize("max_length", [128, 12])
def test_fp32_gives_flagembeddings_outputs(fp32: M3Encoder, max_length: int) -> None:
    records = [record for record in RECORDS if record["max_length"] == max_length]
    out = fp32.encode([record["text"] for record in records], max_length=max_length, **ALL)
    for i, record in enumerate(records):
        expected = {int(token): weight for token, weight in record["lexical_weights"].items()}
        assert fp32.tokenize(record["text"], max_length=max_length) == record["input_ids"]
        np.testing.assert_allclose(out.dense_vecs[i], record["dense_vecs"], atol=TOLERANCE)
        assert out.lexical_weights[i] == pytest.approx(expected, abs=TOLERANCE)
        vectors = np.array(record["colbert_vecs"])
        np.testing.assert_allclose(out.colbert_vecs[i][:, : vectors.shape[1]], vectors, atol=TOLERANCE)
    assert out.truncated.any()


def test_int8_points_the_same_way(int8: M3Encoder) -> None:
    records = [record for record in RECORDS if record["max_length"] == 128]
    vectors = int8.encode([record["text"] for record in records]).dense_vecs
    cosines = (vectors * np.array([record["dense_vecs"] for record in records])).sum(axis=1)
    assert cosines.mean() > 0.998  # for 32 channels; a real model's 1024 give more


@pytest.mark.parametrize("record", GOLDEN["m3"]["pairs"], ids=range(len(GOLDEN["m3"]["pairs"])))
def test_scores_are_flagembeddings(fp32: M3Encoder, record: dict[str, Any]) -> None:
    ours = fp32.compute_score(tuple(record["pair"]), weights_for_different_modes=[0.4, 0.2, 0.4])
    assert ours == pytest.approx(record["scores"], rel=TOLERANCE, abs=TOLERANCE)


def test_bert_with_mean_pooling_gives_transformers_outputs(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "bert", kind="bert", pooling="mean")
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp32", dense_only=True)
    texts, vectors = zip(*[(record["text"], record["dense_vecs"]) for record in GOLDEN["bert-mean"]], strict=True)
    actual = M3Encoder(bundle.path, threads=1).encode(texts).dense_vecs
    np.testing.assert_allclose(actual, vectors, atol=TOLERANCE)
