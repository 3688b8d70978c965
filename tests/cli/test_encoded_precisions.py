"""m3rt encode --dense-precision and --colbert-precision: the codes of every output format are encode()'s."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3rt import M3Encoder
from m3rt.cli import main

TEXTS = ["What is BGE M3?", "a longer text about rivers", "x"]
OPTIONS = ["--colbert", "--dense-precision", "int8", "--colbert-precision", "int8"]


def encode(bundle: Path, out: Path, *options: str) -> int:
    return main(["encode", "-m", str(bundle), "--threads", "1", "-o", str(out), "--chunk-size", "2", *options, *TEXTS])


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, as lists."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        return rows
    arrays = np.load(path)
    assert arrays["colbert_vecs"].dtype == arrays["dense_vecs"].dtype == np.int8
    spans = [slice(a, b) for a, b in zip(arrays["colbert_offsets"], arrays["colbert_offsets"][1:], strict=False)]
    return [
        {"dense_vecs": dense, "colbert_vecs": arrays["colbert_vecs"][s], "colbert_scales": arrays["colbert_scales"][s]}
        for dense, s in zip(arrays["dense_vecs"], spans, strict=True)
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "npz", "parquet"])
def test_every_format_holds_encode_s_codes(suffix: str, bundle_fp32: Path, fp32: M3Encoder, tmp_path: Path) -> None:
    out = tmp_path / f"out.{suffix}"
    assert encode(bundle_fp32, out, *OPTIONS) == 0
    expected = fp32.encode(TEXTS, return_colbert_vecs=True, dense_precision="int8", colbert_precision="int8")
    assert expected.multi is not None
    assert expected.multi.scales is not None
    assert expected.dense_vecs is not None
    rows = rows_of(out)
    assert len(rows) == len(TEXTS)
    for i, row in enumerate(rows):
        assert (np.array(row["dense_vecs"]) == expected.dense_vecs[i]).all()
        assert (np.array(row["colbert_vecs"]) == expected.multi.row(i)).all()
        scales = expected.multi.scales[expected.multi.offsets[i] : expected.multi.offsets[i + 1]]
        assert np.allclose(row["colbert_scales"], scales, rtol=1e-6)


def test_ranges_come_from_a_file(bundle_fp32: Path, fp32: M3Encoder, tmp_path: Path) -> None:
    ranges = np.array([[-0.1], [0.2]], np.float32).repeat(32, axis=1)
    np.save(tmp_path / "ranges.npy", ranges)
    out = tmp_path / "out.npz"
    options = ["--dense-precision", "uint8", "--dense-ranges", str(tmp_path / "ranges.npy")]
    assert encode(bundle_fp32, out, *options) == 0
    expected = fp32.encode(TEXTS, dense_precision="uint8", dense_ranges=ranges).dense_vecs
    assert (np.load(out)["dense_vecs"] == expected).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dense-precision", "int4"], "dense_precision is 'int4', expected one of float32, int8"),
        (["--dense-ranges", "missing.npy"], "--dense-ranges does nothing without --dense-precision int8 or uint8"),
        (["--dense-precision", "int8", "--dense-ranges", "missing.npy"], "missing.npy cannot be used: No such file"),
        (["--dense-precision", "int8", "--dense-ranges", os.devnull], "/dev/null cannot be used: no whole .npy file"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    options: list[str], message: str, bundle_fp32: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(bundle_fp32, tmp_path / "out.npz", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out.npz").exists()


def test_an_archive_for_ranges_is_refused(
    bundle_fp32: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "many.npz", a=np.zeros(2))
    options = ["--dense-precision", "int8", "--dense-ranges", str(tmp_path / "many.npz")]
    assert encode(bundle_fp32, tmp_path / "out.npz", *options) == 2
    assert "no whole .npy file" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["object", "float32"])
def test_ranges_of_a_stranger_are_refused_and_run_nothing(
    dtype: str, bundle_fp32: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ranges.npy"
    if dtype == "object":
        np.save(path, np.array([print], object), allow_pickle=True)
    else:  # a header that promises more numbers than any memory holds
        with path.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (2, 1 << 50)}
            np.lib.format.write_array_header_1_0(file, header)
    options = ["--dense-precision", "int8", "--dense-ranges", str(path)]
    assert encode(bundle_fp32, tmp_path / "out.npz", *options) == 2
    assert "no whole .npy file" in capsys.readouterr().err
