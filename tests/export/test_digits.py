"""Tables whose columns have few values: what a byte holds, against plain loops, and in both engines."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3rt_export.compact.digits import Digits, on_grid, packed
from m3rt_export.compact.products import Product, numbered, product, side
from m3rt_export.graph.builder import GraphBuilder
from m3rt_export.graph.lookup import Lookup, int8_lookup, standard_int8_lookup

from m3rt.bundle.fields import Port


def table(seed: int, rows: int = 40, columns: int = 6) -> Any:
    """Columns of very different sizes, with an empty row and an empty column."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, columns)) * np.geomspace(1e-3, 1e3, columns)
    values[0], values[:, 1] = 0, 0
    return values.astype(np.float32)


def mixed(seed: int, wide: int = 6, narrow: int = 8) -> Any:
    """Columns of fifteen values, of three, of five, and of fifteen again."""
    parts = (
        (table(seed, columns=wide), 7),
        (table(seed + 1, columns=narrow), 1),
        (table(seed + 2), 2),
        (table(seed + 3), 7),
    )
    return np.concatenate([on_grid(values, reach) for values, reach in parts], axis=1)


def with_signs() -> Any:
    """The same, and signs that are products: ten columns, three rows of zeros."""
    left, right = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (2, 7, 10))
    rows = product(left, right, 3).rows(40) * np.geomspace(0.01, 10, 10, dtype=np.float32)
    return np.concatenate([mixed(0), rows, mixed(4)], axis=1)


def with_shared_signs() -> Any:
    """The same, but most rows have their signs in common with others."""
    random = np.random.default_rng(1)
    first, number = numbered(random.integers(0, 20, 37))
    left, right = random.choice(np.array([-1, 1], np.int8), (2, side(len(first)), 10))
    rows = product(left, right, 1).rows(len(first) + 1)[np.concatenate([[0, 0, 0], number + 1])]
    return np.concatenate([mixed(0), rows.astype(np.float32), mixed(4)], axis=1)


def test_signs_are_found_beside_other_columns() -> None:
    found = packed(with_signs())
    assert found is not None
    (signs,) = [run for run in found.runs if isinstance(run, Product)]
    assert signs.left.shape == (7, 10)
    assert signs.which is None
    shared = packed(with_shared_signs())
    assert shared is not None
    (signs,) = [run for run in shared.runs if isinstance(run, Product)]
    assert signs.which is not None
    assert signs.which.nbytes == 2 * 40


def steps(run: Digits) -> Any:
    """A run's columns, by division of each byte."""
    count = {3: 5, 5: 3, 15: 2}[run.levels]
    rows = []
    for row in run.codes.tolist():
        digits = [code // run.levels**i % run.levels for code in row for i in reversed(range(count))]
        rows.append([digit - run.levels // 2 for digit in digits[: run.columns]])
    return np.array(rows)


@given(st.integers(0, 999), st.floats(0.01, 100), st.integers(2, 9), st.integers(2, 12))
def test_a_table_on_its_grid_is_kept_exactly_whatever_its_scale(
    seed: int, scale: float, wide: int, narrow: int
) -> None:
    grid = mixed(seed, wide, narrow) * np.float32(scale)
    found = packed(grid)
    assert found is not None
    read = np.concatenate([steps(run) for run in found.runs if isinstance(run, Digits)], axis=1) * found.step
    assert read == pytest.approx(grid, rel=1e-5)
    assert not read[0].any()


@pytest.mark.parametrize(("reach", "width"), [(7, 5), (2, 4), (1, 2)])
def test_a_byte_holds_two_columns_three_or_five(reach: int, width: int) -> None:
    found = packed(on_grid(table(0, columns=12)[:, 2:], reach))
    assert found is not None
    assert [run.codes.shape for run in found.runs if isinstance(run, Digits)] == [(40, width)]


@given(st.integers(0, 999))
def test_no_column_rounds_better_with_its_whole_range(seed: int) -> None:
    values = table(seed)
    step = np.maximum(np.abs(values).max(axis=0), 1e-30) / 7
    whole = np.rint(values / step) * step
    error = np.square(on_grid(values) - values).sum(axis=0)
    assert (error <= np.square(whole - values).sum(axis=0) * (1 + 1e-4)).all()


@pytest.mark.parametrize("column", [0, 8, 19])
def test_a_table_that_digits_would_change_is_left_alone(column: int) -> None:
    grid = mixed(0)
    grid[5, column] += max(np.abs(grid[:, column]).max(), 1) / 100
    assert packed(grid) is None
    assert packed(table(0)) is None


@pytest.mark.parametrize(("engine", "lookup"), [("onnxruntime", int8_lookup), ("openvino", standard_int8_lookup)])
@pytest.mark.parametrize(
    "grid",
    [mixed(0), on_grid(table(0)), with_signs(), with_shared_signs()],
    ids=["runs", "one run", "signs", "shared signs"],
)
def test_engines_read_rows_exactly(engine: str, lookup: Lookup, grid: Any, tmp_path: Any) -> None:
    g = GraphBuilder(None)
    g.output(lookup(g, grid, "ids"), "rows")
    ports = [Port("ids", "int64", ("batch", "tokens"))], [Port("rows", "float32", ("n", grid.shape[1]))]
    model = g.model(*ports).SerializeToString()
    ids = np.random.default_rng(1).integers(0, 40, (3, 7))
    if engine == "onnxruntime":
        (found,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})
    else:
        openvino = pytest.importorskip("openvino")
        (tmp_path / "model.onnx").write_bytes(model)
        found = openvino.compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(ids)[0]
    assert found == pytest.approx(grid[ids.ravel()], rel=1e-6)
