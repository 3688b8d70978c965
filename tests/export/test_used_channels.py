"""Parts of a layer whose weights are 0: left out of the graphs, and the results are those of the whole checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import reference
from checkpoints import sentences, write_checkpoint
from exports import ALL
from m3rt_export import export
from safetensors.numpy import load_file, save_file

from m3rt import M3Encoder

TEXTS = [*sentences()[::6], "", "word " * 60]
LAYER = "encoder.layer.{}."
# Smallest cosine with the reference: as in test_exporter.
CLOSE = {"fp32": 1 - 1e-6, "int8": 0.98}


def sparse_checkpoint(path: Path, *, heads: list[int], channels: list[int], inner: list[int]) -> Path:
    """A checkpoint of 4 heads of 8 channels: in the first layer these are nothing, each for a reason of its own."""
    source = write_checkpoint(path, heads=4, format="safetensors")
    state = dict(load_file(source / "model.safetensors"))
    first = LAYER.format(0)
    for head in heads:
        state[first + "attention.output.dense.weight"][:, 8 * head : 8 * head + 8] = 0
    for i, channel in enumerate(channels):
        name = "key" if i % 2 else "query"
        state[f"{first}attention.self.{name}.weight"][channel::8] = 0
        if name == "query":
            state[f"{first}attention.self.query.bias"][channel::8] = 0
    state[first + "output.dense.weight"][:, inner] = 0
    save_file(state, source / "model.safetensors")
    return source


def widths(bundle: Path, name: str) -> dict[str, list[int]]:
    """The matrix shapes of the first layer's maps in a graph of fp32."""
    graph = onnx.load(bundle / "model.onnx", load_external_data=False).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return {
        node.name: shapes[node.input[1]] for node in graph.node if node.name.startswith(name) and node.op_type == "Gemm"
    }


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("parts", [
    {"heads": [1, 3], "channels": [], "inner": []},
    {"heads": [0], "channels": [0, 5, 6], "inner": [0, 3, 63]},
    {"heads": [0, 1, 2, 3], "channels": [*range(8)], "inner": [*range(64)]},
], ids=["heads", "some of all", "everything"])  # fmt: skip
def test_a_layer_without_its_empty_parts_computes_the_same(
    engine: Any, precision: Any, parts: dict[str, list[int]], tmp_path: Path
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    source = sparse_checkpoint(tmp_path / "checkpoint", **parts)
    bundle = export(source, tmp_path / "bundle", precision=precision)
    model = M3Encoder(bundle.path, engine=engine, threads=1)
    expected = reference.encode(source, [model.tokenize(text) for text in TEXTS])
    for out in (model.encode(TEXTS, **ALL), model.encode(TEXTS), model.encode(TEXTS[:1])):
        n = len(out.dense_vecs)
        assert (out.dense_vecs * expected.dense[:n]).sum(1).min() >= CLOSE[precision]
    colbert = model.encode(TEXTS, **ALL).colbert_vecs
    assert colbert is not None
    for ours, theirs in zip(colbert, expected.colbert or [], strict=True):
        assert (ours * theirs).sum(1).min(initial=1) >= CLOSE[precision]


def test_only_empty_parts_are_left_out(tmp_path: Path) -> None:
    source = sparse_checkpoint(tmp_path / "checkpoint", heads=[1, 3], channels=[2, 7], inner=[5])
    bundle = export(source, tmp_path / "bundle", precision="fp32").path
    first, second = (list(widths(bundle, f"layer_{i}/").values()) for i in (0, 1))
    assert first == [[12, 32], [12, 32], [16, 32], [32, 16], [63, 32], [32, 63]]  # query, key, value, out, inner, outer
    assert sorted(second) == sorted([[32, 32]] * 4 + [[64, 32], [32, 64]])


def test_a_channel_that_one_head_uses_stays_in_all(tmp_path: Path) -> None:
    source = sparse_checkpoint(tmp_path / "checkpoint", heads=[], channels=[3], inner=[])
    state = dict(load_file(source / "model.safetensors"))
    state[LAYER.format(0) + "attention.self.query.bias"][8 + 3] = np.float32(0.5)
    save_file(state, source / "model.safetensors")
    bundle = export(source, tmp_path / "bundle", precision="fp32").path
    assert next(iter(widths(bundle, "layer_0/").values())) == [32, 32]
