"""int8 weights: near the float ones, and in products that no CPU saturates."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from m3rt_export.graph.builder import GraphBuilder
from m3rt_export.graph.compensation import mean_products
from m3rt_export.graph.int8_linear import Int8Linear, StandardInt8Linear
from m3rt_export.graph.linear import Activation, Dense, Rows
from m3rt_export.graph.quantize import quantize_columns
from numpy.typing import NDArray
from onnx import TensorProto, helper

WIDTHS = [1, 2, 3, 7, 64, 255, 260, 1024, 1031]


def pair_sums(columns: NDArray[np.int8]) -> NDArray[np.int32]:
    """|a| + |b| of the rows 2i and 2i + 1 of (k, n), as x86 adds their products."""
    sizes = np.abs(columns.astype(np.int32))
    sizes = np.vstack([sizes, np.zeros((len(sizes) % 2, sizes.shape[1]), np.int32)])
    return sizes[0::2] + sizes[1::2]


FLOATS = st.floats(-1e4, 1e4, width=32)


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 40)), elements=FLOATS))
def test_neighbours_in_a_column_never_add_to_more_than_128(weight: NDArray[np.float32]) -> None:
    columns, scales = quantize_columns(weight)
    assert pair_sums(columns).max() <= 128
    assert np.abs(columns.astype(np.int32)).max() <= 127
    assert (np.abs(columns.T * scales[:, None] - weight) <= scales[:, None] * np.float32(0.5001)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.booleans())
def test_rounding_with_moments_keeps_neighbours_within_128_too(seed: int, k: int, heavy: bool) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(5, k)).astype(np.float32)
    if heavy:  # few large weights, whose pairs reach the bound
        weight **= 5
    inputs = random.normal(size=(max(1, k // 2), k)).astype(np.float32) + 3  # far from independent
    columns, scales = quantize_columns(weight, inputs.T @ inputs / np.float32(len(inputs)))
    assert pair_sums(columns).max() <= 128
    assert np.abs(columns.astype(np.int32)).max() <= 127
    np.testing.assert_array_equal(scales, quantize_columns(weight)[1])


@pytest.mark.parametrize("k", [96, 260, 1300])  # one block, several, and more channels than are treated together
def test_rounding_with_moments_loses_less_of_the_product(k: int) -> None:
    random = np.random.default_rng(k)
    inputs = random.normal(size=(900, 12)) @ random.normal(size=(12, k)) + 0.1 * random.normal(size=(900, k))
    inputs, weight = inputs.astype(np.float32), random.normal(size=(40, k)).astype(np.float32)
    errors = []
    for moments in (None, mean_products(inputs)):
        columns, scales = quantize_columns(weight, moments)
        errors.append(np.square(inputs @ (columns * scales - weight.T)).mean())
    assert errors[1] < 0.5 * errors[0]


@given(st.integers(0, 2**32 - 1))
def test_the_scale_is_no_coarser_than_the_bounds_ask(seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(8, 64)).astype(np.float32)
    columns, _ = quantize_columns(weight)
    reached = np.maximum(pair_sums(columns).max(axis=0) / 128, np.abs(columns.astype(np.int32)).max(axis=0) / 127)
    assert reached.min() > 0.98


def product(codes: NDArray[np.uint8], columns: NDArray[np.int8], zero: int) -> NDArray[np.float32]:
    """codes times columns by the operator of the int8 graph, in a session without any option."""
    k, n = columns.shape
    tensors = [
        helper.make_tensor("w", TensorProto.INT8, [k, n], columns.tobytes(), raw=True),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("ones", TensorProto.FLOAT, [n], [1.0] * n),
        helper.make_tensor("zero", TensorProto.UINT8, [], [zero]),
    ]
    node = helper.make_node("MatMulIntegerToFloat", ["a", "w", "one", "ones", "zero"], ["y"], domain="com.microsoft")
    graph = helper.make_graph(
        [node], "product", [helper.make_tensor_value_info("a", TensorProto.UINT8, ["rows", k])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", n])], tensors,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"a": codes})[0]
    return result


@pytest.mark.parametrize("k", WIDTHS)
@pytest.mark.parametrize("zero", [0, 32, 128])
def test_the_largest_products_are_exact_on_this_cpu(k: int, zero: int) -> None:
    """Columns at the bound, in every place of a pair and of either sign, times rows of 255: the worst that there is."""
    random = np.random.default_rng(k)
    worst = [(127, 1), (1, 127), (64, 64), (100, 28), (-127, -1), (-64, -64), (127, -1), (0, 127)]
    weight = np.array([np.resize(pair, k) for pair in worst], np.float32)
    mixed = random.normal(size=(24, k)).astype(np.float32)
    columns, _ = quantize_columns(np.vstack([weight, mixed]))
    codes = random.integers(0, 256, (9, k)).astype(np.uint8)
    codes[0], codes[1], codes[2, ::2] = 255, 0, 255
    expected = (codes.astype(np.int64) - zero) @ columns.astype(np.int64)
    np.testing.assert_array_equal(product(codes, columns, zero), expected.astype(np.float32))


@pytest.mark.parametrize("k", [64])
def test_products_beyond_the_bound_do_saturate_where_the_cpu_lacks_vnni(k: int) -> None:
    """The reason of the bound: without it this very product is wrong on such CPUs, and only there."""
    from m3rt.host.cpu import flags, has_vnni

    columns = np.full((k, 8), 127, np.int8)
    codes = np.full((4, k), 255, np.uint8)
    expected = np.full((4, 8), k * 127 * 255, np.float32)
    exact = np.array_equal(product(codes, columns, 0), expected)
    if "avx2" not in flags():
        pytest.skip("only x86's products saturate")
    assert exact == has_vnni()


def test_graphs_of_both_engines_share_the_codes_of_one_rounding() -> None:
    random = np.random.default_rng(3)
    maps = [Dense(random.normal(size=(n, 48)).astype(np.float32), None) for n in (16, 8)]
    rows = random.normal(size=(200, 48)).astype(np.float32)
    read = Activation(np.abs(rows).max(axis=0), static=True, moments=mean_products(rows))
    found = []
    for linear in (Int8Linear(), StandardInt8Linear()):
        g = GraphBuilder(None)
        linear.project(g, Rows("x", "n"), maps, read)
        tensors = g.model([], []).graph.initializer
        found.append([onnx.numpy_helper.to_array(t) for t in tensors if t.data_type == TensorProto.INT8 and t.dims])
    assert [codes.shape for codes in found[0]] == [(48, 16), (48, 8)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(read.rounded) == 1
