"""Choosing an engine: a missing one is named with its install command, a slow one is refused, threads are limited."""

import json
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import rounding
from checkpoints import sentences
from m3rt_export import export
from own_lines import own_lines

from m3rt import BundleError, DeviceMissing, EngineError, EngineMissing, InputError, M3Encoder, M3rtError
from m3rt.bundle import open_bundle
from m3rt.bundle.sessions import session_of
from m3rt.engines import Heads, load_engine, reference_engine
from m3rt.host.cpu import flags, has_vnni
from m3rt.host.threads import available_cpus

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
X86 = platform.machine().lower() in ("x86_64", "amd64")
needs_x86 = pytest.mark.skipif(
    not X86, reason="only x86's u8 x s8 products saturate, and only its features have these names"
)
needs_vnni = pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI")
# AVX-VNNI is VNNI's 256-bit encoding. Some processors with AVX-512 VNNI lack it: oneDNN limited to it saturates there.
needs_avx_vnni = pytest.mark.skipif("avx_vnni" not in flags(), reason="this processor has no AVX-VNNI")
no_cuda = pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")


def refusal(kind: type[M3rtError], bundle: Path, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        M3Encoder(bundle, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def bundle_fp16(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("fp16") / "bundle", precision="fp16").path


def older(bundle: Path, folder: Path) -> Path:
    """The bundle as of an export that did not bound its weights: without the sessions that say so."""
    if not (copy := folder / "older").exists():
        shutil.copytree(bundle, copy)
        raw = json.loads((copy / "m3rt.json").read_text("utf-8"))
        (copy / "m3rt.json").write_text(json.dumps(raw | {"sessions": {}}), "utf-8")
    return copy


# ---- missing packages

BLOCKED = """
import sys
sys.modules["onnxruntime"] = sys.modules["openvino"] = None  # imports then fail as if the packages were missing
from m3rt import EngineMissing, M3Encoder
try:
    M3Encoder(sys.argv[1])
except EngineMissing as error:
    assert isinstance(error, ImportError)
    print(error)
"""
BROKEN = BLOCKED.replace(
    'sys.modules["onnxruntime"] = sys.modules["openvino"] = None', "sys.path.insert(0, sys.argv[2])"
)


def run(script: str, *arguments: Path) -> str:
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    assert (done.returncode, own_lines(done.stderr)) == (0, "")
    return done.stdout


def test_an_engine_that_is_not_installed_says_its_command(bundle_fp32: Path) -> None:
    expected = (
        'onnxruntime or openvino is not installed; run: pip install "m3rt[cpu]" or pip install "m3rt[openvino]"\n'
    )
    assert run(BLOCKED, bundle_fp32) == expected


def test_an_engine_that_does_not_import_says_why(bundle_fp32: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libgomp.so.1:\\n cannot open')")
    out = run(BROKEN, bundle_fp32, tmp_path)
    assert out == "onnxruntime is installed but does not import: libgomp.so.1: cannot open\n"


@no_cuda
@pytest.mark.parametrize("bundle", ["bundle_fp32", "bundle_int8"])
def test_cuda_that_is_not_there_says_its_command(bundle: str, request: pytest.FixtureRequest) -> None:
    message = refusal(DeviceMissing, request.getfixturevalue(bundle), device="cuda")
    assert 'run: pip uninstall onnxruntime && pip install "m3rt[gpu]"' in message


def test_a_bundle_for_an_engine_that_this_version_lacks_is_refused(bundle_fp32: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(bundle_fp32, tmp_path / "bundle")
    text = (bundle / "m3rt.json").read_text("utf-8")
    (bundle / "m3rt.json").write_text(text.replace('"onnxruntime": "model.onnx"', '"abacus": "model.onnx"'))
    assert "graph is Graph(files={'abacus': 'model.onnx'" in refusal(BundleError, bundle)


def test_a_bundle_without_the_asked_engines_graph_says_how_to_get_it(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp32", engine="onnxruntime")
    assert bundle.manifest.engines == ("onnxruntime",)
    message = refusal(BundleError, bundle.path, engine="openvino")
    assert "was exported for onnxruntime, not openvino; export it again with --engine openvino" in message


def test_what_openvino_cannot_do_it_refuses(bundle_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "runs on CPUs only" in refusal(DeviceMissing, bundle_int8, engine="openvino", device="cuda")
    monkeypatch.setattr("m3rt.bundle.sessions.has_vnni", lambda: False)
    assert "no VNNI" in refusal(DeviceMissing, older(bundle_int8, tmp_path), engine="openvino")
    assert M3Encoder(older(bundle_int8, tmp_path), threads=1).engine.name == "onnxruntime"


# ---- two engines, one bundle


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_both_engines_compute_the_same(precision: str, request: pytest.FixtureRequest) -> None:
    bundle = request.getfixturevalue(f"bundle_{precision}")
    first, second = (
        M3Encoder(bundle, engine=name, threads=1).encode(
            sentences(), return_sparse=True, return_colbert_vecs=True, max_length=40
        )
        for name in ("onnxruntime", "openvino")
    )
    # Rounding errors, also of bf16, have both signs, and 32 components average out little of them.
    tolerance = {"fp32": rounding.FP32, "int8": 0.16}[precision]
    for a, b in ((first.dense_vecs, second.dense_vecs), (first.multi.vectors, second.multi.vectors)):
        assert np.linalg.norm(a - b, axis=1).max() < tolerance
    width = max(first.sparse.indices.max(), second.sparse.indices.max()) + 1
    dense = np.zeros((2, len(first), width))
    for row, sparse in zip(dense, (first.sparse, second.sparse), strict=True):
        row[np.repeat(np.arange(len(first)), np.diff(sparse.indptr)), sparse.indices] = sparse.values
    assert np.linalg.norm(dense[0] - dense[1]) <= tolerance * np.linalg.norm(dense[0])


def test_the_graphs_of_both_engines_share_the_weights(checkpoint: Path, bundle_int8: Path, tmp_path: Path) -> None:
    one = export(checkpoint, tmp_path / "one", engine="openvino").manifest.files["weights.bin"].size
    both = open_bundle(bundle_int8).manifest.files["weights.bin"].size
    # The tensors of XLM-R's embeddings, layers and heads occur once; SmoothQuant's factors and scales are shared, too.
    assert both == pytest.approx(one, rel=0.01)


@pytest.mark.parametrize("bundle", ["bundle_fp32", "bundle_int8"])
def test_openvino_gives_a_text_the_same_result_in_any_batch(bundle: str, request: pytest.FixtureRequest) -> None:
    model = M3Encoder(request.getfixturevalue(bundle), engine="openvino", threads=1)
    texts = sentences()[:40]
    options: dict[str, Any] = {"return_sparse": True, "return_colbert_vecs": True}
    together = model.encode(texts, **options)
    for i, text in enumerate(texts):
        alone = model.encode(text, **options)
        np.testing.assert_allclose(alone.dense_vecs[0], together.dense_vecs[i], atol=1e-2 if "int8" in bundle else 1e-6)
        assert alone.colbert_vecs[0].shape == together.colbert_vecs[i].shape


def test_openvino_gives_a_text_the_same_bits_in_any_place_of_a_batch(bundle_int8: Path) -> None:
    engine = load_engine(open_bundle(bundle_int8), engine="openvino", threads=1)
    random = np.random.default_rng(0)
    for length in [*range(3, 40), 64]:  # kernels take 16 rows at a time, and the remaining rows in another way
        ids = np.tile(np.array([[0, *random.integers(4, 200, length), 2]]), (19, 1))
        dense = engine.run(ids, np.ones_like(ids), Heads()).dense
        assert dense is not None
        assert (dense == dense[0]).all(), length


_MASKED = """
import sys
import numpy as np
import m3rt.engines.openvino as openvino
from m3rt import M3Encoder
openvino.has_bf16 = lambda: False
model = M3Encoder(sys.argv[1], engine="openvino", threads=1)
np.save(sys.argv[2], model.encode(["What is M3?", "Bonjour à tous, " * 9, "東京"]).dense_vecs)
"""


@pytest.mark.parametrize(
    ("precision", "features"),
    [
        pytest.param("fp32", "AVX512_CORE", marks=needs_x86),
        pytest.param("fp32", "AVX2", marks=needs_x86),
        pytest.param("int8", "AVX512_CORE_VNNI", marks=[needs_x86, needs_vnni]),
        pytest.param("int8", "AVX2_VNNI", marks=[needs_x86, needs_avx_vnni]),
    ],
)
def test_openvino_computes_the_same_on_lesser_processors(
    precision: str, features: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, vectors = request.getfixturevalue(f"bundle_{precision}"), []
    for name in ("DEFAULT", features):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", name)
        out = tmp_path / f"{name}.npy"
        run(_MASKED, bundle, out)
        vectors.append(np.load(out))
    np.testing.assert_allclose(*vectors, atol=1e-6)


def test_openvino_computes_the_asked_heads_only(bundle_fp32: Path) -> None:
    engine = load_engine(open_bundle(bundle_fp32), engine="openvino", threads=1)
    ids = np.array([[0, 7, 8, 2]])
    everything = engine.run(ids, np.ones_like(ids), Heads(True, True, True))
    for heads in (Heads(True, False, False), Heads(False, True, False), Heads(False, False, True)):
        out = engine.run(ids, np.ones_like(ids), heads)
        for name, asked in (("dense", heads.dense), ("token_weights", heads.sparse), ("colbert", heads.colbert)):
            output = getattr(out, name)
            assert (output is not None) == asked
            if asked:
                np.testing.assert_allclose(output, getattr(everything, name), atol=1e-6)


def test_openvino_runs_in_many_threads_at_once(bundle_fp32: Path) -> None:
    model = M3Encoder(bundle_fp32, engine="openvino", threads=1)
    texts = sentences()[:24]
    expected = model.encode(texts).dense_vecs
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda text: model.encode(text).dense_vecs[0], texts * 4))
    np.testing.assert_allclose(vectors, np.tile(expected, (4, 1)), atol=1e-6)


# ---- refusals


@pytest.mark.parametrize("device", ["cpu", pytest.param("auto", marks=no_cuda)])
def test_fp16_on_a_cpu_is_refused_with_what_to_do(bundle_fp16: Path, device: str) -> None:
    message = refusal(DeviceMissing, bundle_fp16, device=device)
    assert all(words in message for words in ("6-9 times slower", "--precision int8", "device='cuda'"))


def test_the_reference_engine_runs_fp16_on_a_cpu(bundle_fp16: Path) -> None:
    bundle = open_bundle(bundle_fp16)
    engine = reference_engine(bundle)
    assert (engine.name, engine.device) == ("onnxruntime", "cpu")
    out = M3Encoder.with_engine(bundle, engine).encode("x")
    assert np.linalg.norm(out.dense_vecs) == pytest.approx(1)


@pytest.mark.parametrize(("options", "words"), [
    ({"engine": "torch"}, "engine is 'torch', expected one of auto, onnxruntime, openvino"),
    ({"engine": ""}, "engine is '', expected one of auto"),
    ({"device": "tpu"}, "device is 'tpu', expected one of auto, cpu, cuda"),
    ({"device": "cuda:"}, "device is 'cuda:', expected one of auto, cpu, cuda, or cuda:1 for the second card"),
    ({"device": 0}, "device is 0, expected one of"),
    ({"device": "cuda:\N{FULLWIDTH DIGIT ONE}"}, "expected one of auto, cpu, cuda"),
    ({"threads": 0}, "threads is 0, expected 1"),
    ({"threads": -2}, "threads is -2, expected 1"),
    ({"batch_tokens": 0}, "batch_tokens is 0, expected 1"),
])  # fmt: skip
def test_an_unknown_option_is_refused_with_the_known_ones(
    bundle_fp32: Path, options: dict[str, Any], words: str
) -> None:
    assert words in refusal(InputError, bundle_fp32, **options)


# ---- running


@pytest.mark.parametrize("name", ["auto", "onnxruntime"])
def test_auto_is_the_engine_of_the_bundle(bundle_fp32: Path, name: str) -> None:
    engine = load_engine(open_bundle(bundle_fp32), engine=name, device="cpu", threads=1)
    assert engine.name == "onnxruntime"
    assert engine.batch_tokens > 0


def test_the_exact_path_of_cpus_without_vnni_gives_the_same_vectors(
    int8: M3Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m3rt.bundle.sessions.has_vnni", lambda: False)
    exact = M3Encoder(older(int8.path, tmp_path), device="cpu", threads=1).encode(sentences()).dense_vecs
    cosines = (exact * int8.encode(sentences()).dense_vecs).sum(axis=1)
    print(f"max {1 - cosines.min():.2g}, mean {1 - cosines.mean():.2g}")
    assert cosines.min() > 0.9999


COUNT_THREADS = """
import sys
import psutil, onnxruntime
from m3rt.bundle import open_bundle
from m3rt.bundle.sessions import session_of
from m3rt.engines import load_engine
from m3rt.host.threads import available_cpus
bundle, process = open_bundle(sys.argv[1]), psutil.Process()
before = process.num_threads()
engines = [load_engine(bundle, device="cpu", threads=n) for n in (1, available_cpus())]
print(process.num_threads() - before - available_cpus())
"""


def test_an_engine_starts_the_threads_it_is_given_and_no_more(bundle_fp32: Path) -> None:
    assert run(COUNT_THREADS, bundle_fp32) == "-1\n"  # the caller's thread is the first of each pool


def test_more_threads_than_cpus_are_not_started_and_one_line_warns(bundle_fp32: Path) -> None:
    granted = available_cpus()
    with pytest.warns(UserWarning, match=f"threads is {granted + 1}, but {granted} CPUs are granted here") as caught:
        load_engine(open_bundle(bundle_fp32), device="cpu", threads=granted + 1)
    assert len(caught) == 1


@pytest.mark.parametrize("ids", [[[0, 10**6, 2]], [[0, -10_000, 2]], [[0] * 200]], ids=["vocab", "negative", "length"])
def test_a_failing_pass_is_one_line_with_the_shape(bundle_fp32: Path, ids: list[list[int]]) -> None:
    engine = load_engine(open_bundle(bundle_fp32), device="cpu", threads=1)
    array = np.array(ids)
    with pytest.raises(EngineError, match=rf"onnxruntime failed on a \(1, {len(ids[0])}\) batch: ") as caught:
        engine.run(array, np.ones_like(array), Heads())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("heads", [Heads(), Heads(False, True), Heads(False, False, True), Heads(True, True, True)])
def test_an_output_that_is_not_asked_for_is_none(bundle_fp32: Path, heads: Heads) -> None:
    engine = load_engine(open_bundle(bundle_fp32), device="cpu", threads=1)
    ids = np.array([[0, 5, 6, 2], [0, 7, 2, 1]])
    out = engine.run(ids, (ids != 1).astype(np.int64), heads)
    shapes = [None if a is None else (a.shape, a.dtype) for a in (out.dense, out.token_weights, out.colbert)]
    full = [((2, 32), np.float32), ((2, 4), np.float32), ((2, 3, 32), np.float32)]
    assert shapes == [s if on else None for s, on in zip(full, (heads.dense, heads.sparse, heads.colbert), strict=True)]


# ---- without VNNI


@needs_x86
def test_without_vnni_the_weights_become_unsigned_so_that_no_product_saturates(
    bundle_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    import onnxruntime as ort

    from m3rt.engines import onnxruntime as engine

    text = ["The ferry leaves at seven.", "東京タワー"]
    exact = M3Encoder(bundle_int8, threads=1).encode(text).dense_vecs
    monkeypatch.setattr("m3rt.bundle.sessions.has_vnni", lambda: False)
    manifest = open_bundle(older(bundle_int8, tmp_path)).manifest
    options = engine._cpu_options(ort, 1, manifest)
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    disabled = list(session_of("onnxruntime", manifest).disabled_optimizers)
    ort.InferenceSession(str(bundle_int8 / "model.onnx"), options, disabled_optimizers=disabled)
    graph = onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert products
    assert {kinds[node.input[1]] for node in products} == {onnx.TensorProto.UINT8}
    np.testing.assert_allclose(
        M3Encoder(older(bundle_int8, tmp_path), threads=1).encode(text).dense_vecs, exact, atol=2e-3
    )


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_that_is_too_old_is_refused_before_it_computes(
    engine: str, bundle_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip(engine)
    M3Encoder(bundle_int8, engine=engine)
    monkeypatch.setattr(package, "__version__", "1.29.0")  # of both: OpenVINO's have been years for long
    message = rf"^{engine} 1.29.0 is installed, but int8 bundles are right from [\d.]+ on; run: pip install --upgrade "
    with pytest.raises(EngineMissing, match=message):
        M3Encoder(bundle_int8, engine=engine)
    monkeypatch.setattr(package, "__version__", "3000.1.2-29999-abcdef")
    M3Encoder(bundle_int8, engine=engine)
