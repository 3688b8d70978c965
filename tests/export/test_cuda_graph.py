"""The graph for CUDA, without a card: its operators computed in numpy, its types checked by onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import reference
from checkpoints import write_checkpoint
from cuda_operators import CudaGraph
from exports import ALL, TEXTS, external
from m3rt_export import export

from m3rt import M3Encoder, M3Reranker
from m3rt.bundle import Bundle
from m3rt.engines import Heads, reference_engine


@pytest.mark.parametrize("shape", [
    {},
    {"layers": 3, "hidden": 36, "heads": 3, "ffn": 50, "seed": 1},
], ids=["usual", "odd"])  # fmt: skip
def test_every_view_of_packed_rows_agrees_with_the_reference(tmp_path: Path, shape: dict[str, Any]) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **shape)
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp16")
    model = M3Encoder.with_engine(bundle, CudaGraph(bundle))
    expected = reference.encode(checkpoint, [model.tokenize(text) for text in TEXTS])
    out = model.encode(TEXTS, **ALL)
    assert (out.dense_vecs * expected.dense).sum(1).min() >= 1 - 2e-4
    for ours, theirs in zip(out.colbert_vecs, expected.colbert, strict=True):
        assert (ours * theirs).sum(1).min() >= 1 - 2e-4
    for weights, others in zip(out.lexical_weights, expected.lexical_weights, strict=True):
        assert max((abs(weights.get(t, 0) - others.get(t, 0)) for t in {*weights, *others}), default=0) <= 0.1
    alone = model.encode(TEXTS).dense_vecs  # the last layer computes <s> alone
    np.testing.assert_allclose(alone, out.dense_vecs, atol=1e-3)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", ["dense", "bert"])
def test_dense_models_agree_with_the_reference(tmp_path: Path, pooling: str, kind: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind, pooling=pooling)
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp16", dense_only=True)
    model = M3Encoder.with_engine(bundle, CudaGraph(bundle))
    expected = reference.encode(checkpoint, [model.tokenize(text) for text in TEXTS], pooling=pooling)
    assert (model.encode(TEXTS).dense_vecs * expected.dense).sum(1).min() >= 1 - 2e-4


def test_a_reranker_gives_the_logits_of_its_graph_for_cpus(reranker_fp16: Bundle) -> None:
    pairs = [("a", "a b"), ("long " * 20, "short"), ("", "x")]
    packed = M3Reranker.with_engine(reranker_fp16, CudaGraph(reranker_fp16)).compute_score(pairs)
    padded = M3Reranker.with_engine(reranker_fp16, reference_engine(reranker_fp16)).compute_score(pairs)
    np.testing.assert_allclose(packed, padded, atol=2e-2)  # logits of about 1, in fp16 on both sides


@pytest.fixture(scope="module")
def bundle_fp16(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(checkpoint, tmp_path_factory.mktemp("fp16") / "bundle", precision="fp16")


@pytest.fixture(scope="module")
def reranker_fp16(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("reranker")
    checkpoint = write_checkpoint(folder / "checkpoint", kind="reranker")
    return export(checkpoint, folder / "bundle", precision="fp16")


def test_padding_changes_nothing(bundle_fp16: Bundle) -> None:
    engine, heads = CudaGraph(bundle_fp16), Heads(True, True, True)
    ids = np.array([[0, 7, 8, 9, 2], [0, 5, 2, 1, 1]])
    both = engine.run(ids, (ids != 1).astype(np.int64), heads)
    alone = engine.run(ids[1:, :3], np.ones((1, 3), np.int64), heads)
    np.testing.assert_allclose(both.dense[1:], alone.dense, atol=1e-3)
    np.testing.assert_allclose(both.token_weights[1:, :3], alone.token_weights, atol=1e-3)
    np.testing.assert_allclose(both.colbert[1:, :2], alone.colbert, atol=1e-3)


def test_onnxruntime_accepts_the_graph_and_lacks_only_its_kernels_on_a_cpu(bundle_fp16: Bundle) -> None:
    """onnxruntime resolves every operator, type and shape first, and looks for kernels after that."""
    with pytest.raises(Exception, match=r"(?i)not.?implemented.*RemovePadding"):
        onnxruntime.InferenceSession(bundle_fp16.graph("onnxruntime_cuda"), providers=["CPUExecutionProvider"])


def test_both_graphs_share_every_matrix(bundle_fp16: Bundle) -> None:
    places = {}
    for name in ("onnxruntime", "onnxruntime_cuda"):
        graph = onnx.load(bundle_fp16.graph(name), load_external_data=False).graph
        places[name] = {
            entry.value for tensor in graph.initializer for entry in tensor.external_data if entry.key == "offset"
        }
    assert places["onnxruntime_cuda"] == places["onnxruntime"]
    assert places["onnxruntime"] == {str(offset) for offset, _ in external(bundle_fp16).values()}
