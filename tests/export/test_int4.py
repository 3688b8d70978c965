"""Weights of 4 bits: the rounding beside its own numbers, and bundles beside float32."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import sentences, write_checkpoint
from exports import ALL, encoder, refusal
from m3rt_export import export
from m3rt_export.graph.builder import GraphBuilder
from m3rt_export.graph.int4_linear import LEAST_WIDTH, Int4Linear
from m3rt_export.graph.linear import Activation, Dense, Role, Rows
from m3rt_export.graph.lookup import int4_lookup
from m3rt_export.graph.quantize_blocks import packed_pairs, quantize_blocks
from numpy.typing import NDArray

from m3rt.bundle import Bundle
from m3rt.bundle.fields import Port
from m3rt.bundle.golden import check
from m3rt.engines.onnxruntime import evaluate

TEXTS = [*sentences()[::9], "", "word " * 60]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Of a model that is just wide enough to have maps of 4 bits."""
    checkpoint = tmp_path_factory.mktemp("checkpoint") / "m3"
    write_checkpoint(checkpoint, layers=1, hidden=LEAST_WIDTH, heads=12, ffn=LEAST_WIDTH + 128)
    folder = tmp_path_factory.mktemp("bundles")
    return {p: export(checkpoint, folder / p, precision=p) for p in ("fp32", "int4")}


def operators(bundle: Bundle) -> list[str]:
    return [node.op_type for node in onnx.load(bundle.path / "model.onnx", load_external_data=False).graph.node]


def matrix(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_numbers_that_blocks_can_hold_are_kept() -> None:
    steps = np.random.default_rng(1).integers(0, 16, (24, 64))
    steps[:, ::32], steps[:, 1::32] = 0, 15
    weight = ((steps - 7) * 0.25).astype(np.float32)
    np.testing.assert_array_equal(quantize_blocks(weight, 32).values(), weight)


@pytest.mark.parametrize("value", [0.0, 1e-30, 3e5])
def test_blocks_of_one_value_give_finite_numbers(value: float) -> None:
    assert np.isfinite(quantize_blocks(np.full((3, 40), value, np.float32), 32).values()).all()


def test_rounding_with_moments_loses_less_of_the_product() -> None:
    mixed = matrix(600, 8) @ matrix(8, 64) + 0.1 * matrix(600, 64)
    weight = matrix(48, 64)
    errors = [
        np.square(mixed @ (quantize_blocks(weight, 32, moments).values() - weight).T).mean()
        for moments in (None, mixed.T @ mixed / len(mixed))
    ]
    assert errors[1] < 0.5 * errors[0]


def test_the_graph_multiplies_by_the_numbers_of_the_blocks() -> None:
    n, k = LEAST_WIDTH, LEAST_WIDTH + 40
    g, weight, x = GraphBuilder(None), matrix(n, k), matrix(7, k)
    (product,) = Int4Linear().project(g, Rows("x", ""), [Dense(weight, None)])
    g.output(product, "y")
    model = g.model([Port("x", "float32", ("rows", k))], [Port("y", "float32", ("rows", n))])
    ((y,),) = evaluate(model.SerializeToString(), [{"x": x}], ["y"])
    expected = x @ quantize_blocks(weight, 32).values()[:, :k].T
    assert np.linalg.norm(y - expected) < 0.02 * np.linalg.norm(expected)  # of activations in int8


def test_maps_that_read_the_same_come_back_in_their_order_and_values_lose_least() -> None:
    k = LEAST_WIDTH
    g, x = GraphBuilder(None), matrix(400, 8) @ matrix(8, k) + matrix(400, k)
    x[:, 5] *= 30  # a channel that AWQ's factors and SmoothQuant's move into the weights
    roles = (Role.SCORES, Role.VALUES, Role.OTHER, Role.SCORES)
    maps = [Dense(matrix(k + i, k), matrix(1, k + i)[0], role) for i, role in enumerate(roles)]
    products = Int4Linear().project(
        g, Rows("x", "count"), maps, Activation(np.abs(x).max(axis=0), moments=x.T @ x / 400)
    )
    for i, product in enumerate(products):
        g.output(product, f"y{i}")
    ports = [Port("x", "float32", ("rows", k)), Port("count", "int64", (1,))]
    model = g.model(ports, [Port(f"y{i}", "float32", ("rows", len(m.weight))) for i, m in enumerate(maps)])
    feeds = {"x": x, "count": np.array([400])}
    (results,) = evaluate(model.SerializeToString(), [feeds], [f"y{i}" for i in range(len(maps))])
    exact = [x @ m.weight.T + m.bias for m in maps]
    losses = [np.linalg.norm(y - e) / np.linalg.norm(e) for y, e in zip(results, exact, strict=True)]
    assert max(losses) < 0.1
    assert losses[1] < 0.5 * min(losses[0], *losses[2:])


@pytest.mark.parametrize(("width", "block"), [(80, 16), (384, 32), (LEAST_WIDTH, 128)])
def test_the_graph_looks_up_the_numbers_of_the_blocks(width: int, block: int) -> None:
    g, table, ids = GraphBuilder(None), matrix(50, width), np.array([[3, 49], [0, 3]])
    g.output(int4_lookup(g, table, "ids"), "rows")
    model = g.model([Port("ids", "int64", ("batch", "tokens"))], [Port("rows", "float32", ("rows", width))])
    ((rows,),) = evaluate(model.SerializeToString(), [{"ids": ids}], ["rows"])
    np.testing.assert_allclose(rows, quantize_blocks(table, block).values()[ids.reshape(-1)], rtol=1e-3, atol=1e-6)


def test_pairs_lie_in_bytes_low_bits_first() -> None:
    assert packed_pairs(np.array([[1, 2, 3]], np.uint8)).tolist() == [[0x21, 0x03]]


def test_an_int4_bundle_is_near_float32_and_small(bundles: dict[str, Bundle]) -> None:
    int4, fp32 = (encoder(bundles[p]).encode(TEXTS, **ALL).dense_vecs for p in ("int4", "fp32"))
    assert np.einsum("nd,nd->n", int4, fp32).mean() > 0.95  # of random weights, a single block wide
    sizes = {p: bundle.manifest.files["weights.bin"].size for p, bundle in bundles.items()}
    assert sizes["int4"] < 0.4 * sizes["fp32"]


def test_a_narrow_model_has_4_bits_in_its_table_alone(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "m3")
    narrow = {p: export(checkpoint, tmp_path / p, precision=p, engine="onnxruntime") for p in ("fp32", "int4", "int8")}
    assert operators(bundles["int4"]).count("MatMulNBits") == 4  # queries, keys, the FFN's two
    assert "MatMulNBits" not in operators(narrow["int4"])
    assert "GatherBlockQuantized" in operators(narrow["int4"])
    fp32, int4, int8 = (encoder(bundle).encode(TEXTS).dense_vecs for bundle in narrow.values())
    losses = [1 - np.einsum("nd,nd->n", fp32, other).mean() for other in (int4, int8)]
    assert losses[1] < losses[0] < 0.02
    weights = [narrow[p].manifest.files["weights.bin"].size for p in ("int4", "int8")]
    assert weights[0] < weights[1]


def test_a_text_of_an_int4_bundle_does_not_depend_on_its_batch(bundles: dict[str, Bundle]) -> None:
    model = encoder(bundles["int4"])
    together = model.encode(TEXTS).dense_vecs
    alone = np.concatenate([model.encode(text).dense_vecs for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-3)


def test_an_int4_bundle_gives_its_golden_vectors(bundles: dict[str, Bundle]) -> None:
    assert check(encoder(bundles["int4"]), bundles["int4"]).passed


def test_int4_is_refused_where_it_cannot_run(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "m3")
    line = refusal(tmp_path, checkpoint, precision="int4", engine="openvino")
    assert "engine is 'openvino', expected one of onnxruntime for int4" in line
