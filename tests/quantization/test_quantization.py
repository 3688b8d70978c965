"""Codes of dense vectors against sentence-transformers' definitions, and the scores of what they stand for."""

from pathlib import Path

import numpy as np
import pytest

from m3rt import InputError, M3Encoder
from m3rt.quantization import (
    DENSE_PRECISIONS,
    calibrated_ranges,
    default_ranges,
    dense_scores,
    hamming,
    quantize_embeddings,
)

TEXTS = ["What is BGE M3?", "a passage about rivers and their lakes", "東京タワー", ""]


def units(n: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_definition(vectors: np.ndarray, precision: str, ranges: np.ndarray) -> list[list[int]]:
    """Codes by loops over components, as sentence-transformers' documentation describes them."""
    rows = []
    for vector in vectors.astype(np.float64):
        if precision in ("int8", "uint8"):
            low, high = ranges.astype(np.float64)
            steps = [min(255, max(0, int((x - a) // ((b - a) / 255)))) for x, a, b in zip(vector, low, high)]  # noqa: B905
            rows.append([step - 128 * (precision == "int8") for step in steps])
        else:
            bits = "".join("01"[int(x > 0)] for x in vector)
            bits += "0" * (-len(bits) % 8)
            octets = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
            rows.append([octet - 128 * (precision == "binary") for octet in octets])
    return rows


@pytest.mark.parametrize("dim", [8, 13, 64])
@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_codes_are_those_of_the_definition(precision: str, dim: int) -> None:
    vectors = units(40, dim)
    ranges = np.stack([np.linspace(-0.3, -0.1, dim), np.linspace(0.1, 0.4, dim)]).astype(np.float32)
    codes = quantize_embeddings(vectors, precision, ranges)
    assert codes.dtype == (np.int8 if precision in ("int8", "binary") else np.uint8)
    expected = np.array(by_definition(vectors, precision, ranges))
    # A component on the border of two steps may fall on either side in float32.
    assert np.abs(codes.astype(int) - expected).max() <= (precision in ("int8", "uint8"))
    assert (codes == expected).mean() > 0.99


@pytest.mark.parametrize("precision", ["binary", "ubinary"])
def test_the_bit_of_zero_is_that_of_negative_numbers(precision: str) -> None:
    vectors = np.array([[0, -0.0, 1, -1, 0, 1, -1, 0]], np.float32)
    assert quantize_embeddings(vectors, precision).tolist() == by_definition(vectors, precision, vectors)


def test_a_component_that_never_varies_keeps_its_place() -> None:
    vectors = units(20, 8)
    vectors[:, 3] = 0.25
    codes = quantize_embeddings(vectors, "uint8", calibration_embeddings=vectors)
    assert (codes[:, 3] == 0).all()
    assert (
        np.delete(codes, 3, axis=1)
        == quantize_embeddings(
            np.delete(vectors, 3, axis=1), "uint8", calibration_embeddings=np.delete(vectors, 3, axis=1)
        )
    ).all()


def test_float32_is_a_copy() -> None:
    vectors = units(2, 8)
    copied = quantize_embeddings(vectors, "float32")
    assert (copied == vectors).all()
    assert not np.shares_memory(copied, vectors)


def test_default_ranges_do_not_depend_on_the_other_vectors() -> None:
    vectors = units(50, 32)
    together = quantize_embeddings(vectors, "int8")
    assert (together == np.concatenate([quantize_embeddings(v[None], "int8") for v in vectors])).all()


def test_calibrated_ranges_are_the_extremes_of_each_component() -> None:
    vectors = units(20, 8)
    ranges = calibrated_ranges(vectors)
    assert (ranges == [vectors.min(0), vectors.max(0)]).all()
    calibrated = quantize_embeddings(vectors, "uint8", calibration_embeddings=vectors)
    assert (calibrated == quantize_embeddings(vectors, "uint8", ranges)).all()
    assert (calibrated.min(0) == 0).all()


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_a_score_is_off_by_half_a_step_of_each_component_at_most(precision: str) -> None:
    vectors, queries = units(200, 256), units(5, 256, seed=1)
    scores = dense_scores(queries, quantize_embeddings(vectors, precision), precision)
    half = np.diff(default_ranges(256), axis=0)[0, 0] / 255 / 2
    bound = np.abs(queries).sum(1)[:, None] * half * 1.001
    assert (np.abs(scores - queries @ vectors.T) <= bound).all()


@pytest.mark.parametrize("precision", ["binary", "ubinary"])
def test_the_score_of_bits_is_the_product_with_their_signs(precision: str) -> None:
    vectors, queries = units(30, 20), units(4, 20, seed=1)
    scores = dense_scores(queries, quantize_embeddings(vectors, precision), precision)
    assert np.allclose(scores, queries @ (np.where(vectors > 0, 1, -1) / np.sqrt(20)).T, atol=1e-6)


def test_hamming_counts_differing_signs() -> None:
    a, b = units(6, 40), units(9, 40, seed=1)
    expected = ((a > 0)[:, None] != (b > 0)[None]).sum(2)
    for precision in ("binary", "ubinary"):
        assert (hamming(quantize_embeddings(a, precision), quantize_embeddings(b, precision)) == expected).all()


@pytest.mark.parametrize("precision", DENSE_PRECISIONS)
def test_encode_gives_the_codes_of_its_vectors(fp32: M3Encoder, precision: str) -> None:
    ranges = default_ranges(fp32.manifest.dim) / 2
    vectors = fp32.encode(TEXTS).dense_vecs
    out = fp32.encode(TEXTS, dense_precision=precision, dense_ranges=ranges)
    assert (out.dense_vecs == quantize_embeddings(vectors, precision, ranges)).all()


def test_colbert_codes_and_scales_restore_the_vectors(fp32: M3Encoder) -> None:
    views = {"return_dense": False, "return_colbert_vecs": True}
    exact, coded = fp32.encode(TEXTS, **views).multi, fp32.encode(TEXTS, **views, colbert_precision="int8").multi
    assert exact is not None
    assert coded is not None
    assert coded.scales is not None
    assert coded.vectors.dtype == np.int8
    assert exact.restored() is exact
    assert (np.abs(coded.restored().vectors - exact.vectors) <= coded.scales[:, None] / 2 * 1.001).all()
    part = coded.part(slice(1, 3)).restored()
    assert (part.vectors == coded.restored().vectors[coded.offsets[1] : coded.offsets[3]]).all()


async def _both(model: M3Encoder) -> tuple[np.ndarray, np.ndarray]:
    return (
        (await model.aencode(TEXTS, dense_precision="binary")).dense_vecs,  # type: ignore[return-value]
        model.encode(TEXTS, dense_precision="binary").dense_vecs,
    )


def test_aencode_takes_the_same_options(fp32: M3Encoder) -> None:
    import asyncio

    theirs, ours = asyncio.run(_both(fp32))
    assert (theirs == ours).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dense_precision": "int4"},
            "dense_precision is 'int4', expected one of float32, int8, uint8, binary, ubinary",
        ),
        ({"colbert_precision": "binary"}, "colbert_precision is 'binary', expected one of float32, int8"),
        ({"dense_ranges": np.zeros((2, 3))}, r"ranges has shape \(2, 3\), expected .* \(2, 32\)"),
        ({"dense_ranges": np.ones((2, 32)) * [[1], [-1]]}, "a least value above the greatest"),
        ({"dense_ranges": np.full((2, 32), np.nan)}, "holds NaN"),
    ],
)
def test_unusable_options_are_refused_in_a_line(fp32: M3Encoder, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fp32.encode(TEXTS, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize_embeddings([1.0], "int8"), "expected a matrix"),
        (lambda: quantize_embeddings(units(2, 8), "fp8"), "precision is 'fp8'"),
        (lambda: calibrated_ranges(np.zeros((0, 8))), "has no rows"),
        (lambda: dense_scores(units(1, 8), np.zeros((2, 8), np.float32), "int8"), "codes do not fit"),
        (lambda: dense_scores(units(1, 16), np.zeros((2, 1), np.uint8), "ubinary"), "codes do not fit"),
        (lambda: hamming(units(1, 8), units(1, 8)), "no codes"),
        (lambda: hamming(np.zeros((1, 2), np.int8), np.zeros((1, 3), np.int8)), "differ in width"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_a_line(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


def test_an_index_refuses_codes_for_vectors(fp32: M3Encoder, tmp_path: Path) -> None:
    from m3rt import HybridIndex

    index = HybridIndex.create(tmp_path / "index", fp32, sparse=False)
    codes = fp32.encode(["one"], dense_precision="int8")
    with pytest.raises(InputError, match="dense vectors are int8, expected float32"):
        index.add(["1"], ["one"], embeddings=codes)


@pytest.mark.parity
def test_codes_are_those_of_sentence_transformers() -> None:
    theirs = pytest.importorskip("sentence_transformers.util")
    vectors, sample = units(300, 96), units(500, 96, seed=1)
    for precision in DENSE_PRECISIONS:
        for options in ({"ranges": calibrated_ranges(sample)}, {"calibration_embeddings": sample}):
            expected = theirs.quantize_embeddings(vectors, precision, **options)
            codes = quantize_embeddings(vectors, precision, **options)
            assert codes.dtype == expected.dtype
            assert (codes == expected).all()
