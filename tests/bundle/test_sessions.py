"""A bundle is right outside m3rt too: bare onnxruntime, opened as the manifest says, gives the golden vectors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import rounding
from onnx import numpy_helper

from m3rt import M3Encoder
from m3rt.bundle import open_bundle
from m3rt.bundle.golden import TOLERANCE
from m3rt.bundle.manifest import Manifest
from m3rt.bundle.sessions import sessions

# The README's example. {bundle}: its path.
BARE = """
import json, os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # set before the import
import numpy as np
import onnxruntime as ort

bundle = "{bundle}"
with open(f"{{bundle}}/m3rt.json") as file:
    session = json.load(file)["sessions"]["onnxruntime"]
options = ort.SessionOptions()
level = {{"disabled": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED"}}[session["optimization"]]
options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{{level}}")
for name, value in session["config"].items():
    options.add_session_config_entry(name, value)
model = ort.InferenceSession(f"{{bundle}}/model.onnx", options, disabled_optimizers=session["disabled_optimizers"])
heads = {{name: np.array(True) for name in ("return_dense", "return_sparse", "return_colbert_vecs")}}
with open(f"{{bundle}}/golden.json") as file:
    for golden in json.load(file):
        ids = np.array([golden["input_ids"]])
        dense, weights, colbert = model.run(None, {{"input_ids": ids, "attention_mask": np.ones_like(ids), **heads}})
        assert np.linalg.norm(dense[0] - golden["dense_vecs"]) < 0.03  # fp32: 1e-4
"""


def bare(bundle: Path) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(BARE.format(bundle=bundle.as_posix()), "README.md", "exec"), names)
    return names


@pytest.mark.parametrize("name", ["m3-tiny", "bundle_fp32", "bundle_int8"])
def test_bare_onnxruntime_gives_the_golden_vectors(name: str, request: pytest.FixtureRequest) -> None:
    bundle = open_bundle(name if name == "m3-tiny" else request.getfixturevalue(name))
    model = bare(bundle.path)["model"]
    worst = 0.0
    for golden in json.loads((bundle.path / "golden.json").read_text("utf-8")):
        ids = np.array([golden["input_ids"]])
        heads = {h: np.array(True) for h in ("return_dense", "return_sparse", "return_colbert_vecs")}
        dense, _, colbert = model.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids), **heads})
        width = len(golden["colbert_vecs"][0])
        for actual, expected in ((dense, [golden["dense_vecs"]]), (colbert[0, :, :width], golden["colbert_vecs"])):
            lengths = np.linalg.norm(expected, axis=1)
            worst = max(worst, float((np.linalg.norm(actual - np.array(expected), axis=1) / lengths).max()))
    print(f"largest relative difference {worst:.2g}")
    assert worst <= TOLERANCE[bundle.manifest.precision]


@pytest.mark.parametrize("name", ["bundle_fp32", "bundle_int8"])
def test_bare_onnxruntime_gives_what_m3rt_gives_for_a_padded_batch(name: str, request: pytest.FixtureRequest) -> None:
    bundle = request.getfixturevalue(name)
    encoder = M3Encoder(bundle, engine="onnxruntime", threads=1)
    rows = [encoder.tokenize(text) for text in ("The ferry leaves at seven.", "x")]
    longest = max(map(len, rows))
    ids = np.array([row + [1] * (longest - len(row)) for row in rows])
    feeds = {"input_ids": ids, "attention_mask": (ids != 1).astype(np.int64), **bare(bundle)["heads"]}
    actual = bare(bundle)["model"].run(["dense_vecs"], feeds)[0]
    expected = encoder.encode(["The ferry leaves at seven.", "x"]).dense_vecs
    tolerance = rounding.FP32 if name == "bundle_fp32" else 2e-2
    assert np.linalg.norm(actual - expected, axis=1).max() <= tolerance


@pytest.mark.parametrize("name", ["m3-tiny", "bundle_fp32", "bundle_int8"])
def test_a_manifest_tells_the_sessions_of_its_graphs(name: str, request: pytest.FixtureRequest) -> None:
    manifest = open_bundle(name if name == "m3-tiny" else request.getfixturevalue(name)).manifest
    assert manifest.sessions == sessions(manifest.graph.files, manifest.precision)
    assert set(manifest.sessions) == set(manifest.graph.files)


@pytest.mark.parametrize("name", ["m3-tiny", "bundle_int8"])
def test_no_product_of_a_bundle_saturates_without_vnni(name: str, request: pytest.FixtureRequest) -> None:
    path = open_bundle(name if name == "m3-tiny" else request.getfixturevalue(name)).path
    graph = onnx.load(path / "model.onnx").graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    products = [node.input[1] for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert products
    for product in products:
        columns = np.abs(numpy_helper.to_array(weights[product]).astype(np.int32))
        assert (columns[0::2] + columns[1::2]).max() <= 128, product  # times 255 it is below 2 ** 15


def test_this_onnxruntime_is_one_that_the_graphs_run_on() -> None:
    def numbers(version: str) -> list[int]:
        return [int(part) for part in version.split(".")[:2]]

    for session in sessions(["onnxruntime"], "int8").values():
        assert numbers(onnxruntime.__version__) >= numbers(session.minimum_version)


def test_a_bundle_of_before_there_were_sessions_loads(bundle_fp32: Path) -> None:
    raw = json.loads((bundle_fp32 / "m3rt.json").read_text("utf-8"))
    del raw["sessions"]
    assert Manifest.from_json(json.dumps(raw)).sessions == {}
