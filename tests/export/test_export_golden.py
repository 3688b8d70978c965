"""The golden vectors of an exported bundle: met by a fresh load, missed after any change of a weight."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import xlm_roberta_tokenizer
from exports import ALL, PRECISIONS, encoder, external
from m3rt_export import export
from m3rt_export.texts import GOLDEN_TEXTS

from m3rt import BundleError, M3Encoder
from m3rt.bundle import check_hashes, golden, open_bundle


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_vectors_are_met_by_a_fresh_load(checkpoint: Path, tmp_path: Path, precision: Any) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", precision=precision)
    report = golden.check(encoder(open_bundle(bundle.path)), bundle)
    assert report.passed
    assert report.texts == len(GOLDEN_TEXTS)
    assert report.differences.keys() == {"dense_vecs", "input_ids", "lexical_weights", "colbert_vecs"}


def test_golden_vectors_are_the_outputs_rounded(bundle_fp32: Path, fp32: M3Encoder) -> None:
    records = json.loads((bundle_fp32 / "golden.json").read_text("utf-8"))
    assert [r["text"] for r in records] == list(GOLDEN_TEXTS)
    for record in records:
        out = fp32.encode(record["text"], **ALL)
        assert record["input_ids"] == xlm_roberta_tokenizer().encode(record["text"]).ids
        np.testing.assert_allclose(record["dense_vecs"], out.dense_vecs[0], atol=1e-5)
        np.testing.assert_allclose(record["colbert_vecs"], out.colbert_vecs[0][:, :16], atol=1e-5)
        weights = {int(token): weight for token, weight in record["lexical_weights"].items()}
        assert weights == pytest.approx(out.lexical_weights[0], abs=1e-5)


def test_golden_vectors_show_a_flipped_sign_in_any_weight(bundle_fp32: Path, tmp_path: Path) -> None:
    bundle = open_bundle(shutil.copytree(bundle_fp32, tmp_path / "bundle"))
    weights = bundle.path / "weights.bin"
    whole = weights.read_bytes()
    for name, (offset, length) in external(bundle).items():
        sign = offset + min(length, 3 * 32 * 4) - 1  # in row 2 of an embedding table: </s>, the first position
        weights.write_bytes(whole[:sign] + bytes([whole[sign] ^ 0x80]) + whole[sign + 1 :])
        assert not golden.check(encoder(bundle), bundle).passed, name
        with pytest.raises(BundleError, match=r"weights\.bin has SHA-256"):
            check_hashes(bundle)


@pytest.mark.parametrize("damage", ["", "[{}]", "{", '[{"text": 1}]', "[1]", '{"a": 1}', "null"])
def test_damaged_golden_vectors_are_a_bundle_error(bundle_fp32: Path, tmp_path: Path, damage: str) -> None:
    bundle = open_bundle(shutil.copytree(bundle_fp32, tmp_path / "bundle"))
    (bundle.path / "golden.json").write_text(damage)
    with pytest.raises(BundleError, match=r"golden\.json is damaged"):
        golden.check(encoder(bundle), bundle)
