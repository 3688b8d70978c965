"""Tables of four bits, against plain rounding and in both engines."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export.graph import GraphBuilder
from m3rt_export.linear import Int8Linear, Linear, StandardInt8Linear
from m3rt_export.quantize import four_bits, on_grid

from m3rt.manifest import Port


def table(seed: int, rows: int = 40, columns: int = 6) -> Any:
    """Columns of very different sizes, with an empty row and an empty column."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, columns)) * np.geomspace(1e-3, 1e3, columns)
    values[0], values[:, 1] = 0, 0
    return values.astype(np.float32)


def unpacked(found: Any) -> Any:
    codes = np.concatenate([found.codes & 15, found.codes >> 4], axis=1)
    return (codes.astype(np.float32) - 8) * found.step


@given(st.integers(0, 999), st.floats(0.01, 100))
@settings(deadline=None)
def test_four_bits_hold_a_table_on_its_grid_whatever_its_scale(seed: int, scale: float) -> None:
    grid = on_grid(table(seed)) * np.float32(scale)
    found = four_bits(grid)
    assert found is not None
    assert found.codes.nbytes == grid.size / 2
    assert unpacked(found) == pytest.approx(grid, rel=1e-5)
    assert not unpacked(found)[0].any()


@given(st.integers(0, 999))
@settings(deadline=None)
def test_no_column_rounds_better_with_its_whole_range(seed: int) -> None:
    values = table(seed)
    step = np.maximum(np.abs(values).max(axis=0), 1e-30) / 7
    whole = np.rint(values / step) * step
    error = np.square(on_grid(values) - values).sum(axis=0)
    assert (error <= np.square(whole - values).sum(axis=0) * (1 + 1e-4)).all()


@pytest.mark.parametrize("column", [0, 3])
def test_a_table_that_four_bits_would_change_is_left_alone(column: int) -> None:
    grid = on_grid(table(0))
    grid[5, column] += np.abs(grid[:, column]).max() / 100
    assert four_bits(grid) is None
    assert four_bits(table(0)) is None
    assert four_bits(on_grid(table(0, columns=5))) is None


@pytest.mark.parametrize(("engine", "linear"), [("onnxruntime", Int8Linear()), ("openvino", StandardInt8Linear())])
def test_engines_read_rows_of_four_bits_exactly(engine: str, linear: Linear, tmp_path: Any) -> None:
    grid = on_grid(table(0))
    g = GraphBuilder(None)
    g.output(linear.rows(g, grid, "ids"), "rows")
    ports = [Port("ids", "int64", ("batch", "tokens"))], [Port("rows", "float32", ("n", 6))]
    model = g.model(*ports).SerializeToString()
    ids = np.random.default_rng(1).integers(0, 40, (3, 7))
    if engine == "onnxruntime":
        (found,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})
    else:
        openvino = pytest.importorskip("openvino")
        (tmp_path / "model.onnx").write_bytes(model)
        found = openvino.compile_model(tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(ids)[0]
    assert found == pytest.approx(grid[ids.ravel()], rel=1e-6)
