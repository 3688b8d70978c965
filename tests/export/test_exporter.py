"""Exports: the outputs that a bundle computes, and the files that it holds."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import reference
from checkpoints import FORMATS, write_checkpoint
from exports import ALL, PRECISIONS, TEXTS, edit_json, encoder, external
from m3rt_export import export

from m3rt import Embeddings, M3Encoder
from m3rt.bundle import check_hashes, open_bundle

# Smallest cosine of a dense and of a ColBERT vector with the reference, and the largest error of a weight of
# about 3. Measured on these tiny models: 1 - 2e-7, 1 - 3e-5 and .996; 5e-6, .02 and .25.
CLOSE = {"fp32": (1 - 1e-6, 1e-5), "fp16": (1 - 2e-4, 0.1), "int8": (0.98, 0.6)}


def assert_close(out: Embeddings, expected: reference.Reference, precision: str) -> None:
    cosine, weight = CLOSE[precision]
    assert (out.dense_vecs * expected.dense).sum(1).min() >= cosine
    if out.colbert_vecs is None or out.lexical_weights is None:
        return
    for ours, theirs in zip(out.colbert_vecs, expected.colbert, strict=True):
        assert ours.shape == theirs.shape
        assert (ours * theirs).sum(1).min() >= cosine
    for ours, theirs in zip(out.lexical_weights, expected.lexical_weights, strict=True):
        assert max((abs(ours.get(t, 0) - theirs.get(t, 0)) for t in {*ours, *theirs}), default=0) <= weight


# ---- what it computes


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [
    {},
    {"layers": 3, "hidden": 36, "heads": 3, "ffn": 50, "seed": 1},
    {"layers": 1, "hidden": 16, "heads": 4, "ffn": 24, "dtype": "float16", "positions": 70},
], ids=["usual", "odd", "half"])  # fmt: skip
def test_every_view_agrees_with_the_reference(tmp_path: Path, precision: Any, shape: dict[str, Any]) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **shape)
    model = encoder(export(checkpoint, tmp_path / "bundle", precision=precision))
    expected = reference.encode(checkpoint, [model.tokenize(text) for text in TEXTS])
    assert_close(model.encode(TEXTS, **ALL), expected, precision)
    assert_close(model.encode(TEXTS), expected, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", ["dense", "bert"])
def test_dense_models_agree_with_the_reference(tmp_path: Path, precision: Any, pooling: str, kind: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind, pooling=pooling)
    model = encoder(export(checkpoint, tmp_path / "bundle", precision=precision, dense_only=True))
    assert (model.manifest.kind, model.manifest.pooling) == ("dense", pooling)
    expected = reference.encode(checkpoint, [model.tokenize(text) for text in TEXTS], pooling=pooling)
    assert_close(model.encode(TEXTS), expected, precision)


@pytest.mark.parametrize(("precision", "cosine"), [("fp16", 1 - 2e-4), ("int8", 0.98)])
def test_smaller_precisions_stay_close_to_fp32(
    checkpoint: Path, tmp_path: Path, fp32: M3Encoder, precision: Any, cosine: float
) -> None:
    small, exact = encoder(export(checkpoint, tmp_path / "b", precision=precision)).encode(TEXTS), fp32.encode(TEXTS)
    assert (small.dense_vecs * exact.dense_vecs).sum(1).min() >= cosine


def test_smaller_precisions_are_smaller(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", hidden=128, ffn=512)
    fp32, fp16, int8 = (
        export(checkpoint, tmp_path / p, precision=p).manifest.files["weights.bin"].size for p in PRECISIONS
    )
    assert fp16 < 0.52 * fp32
    assert int8 < 0.28 * fp32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_file_layouts_and_prefixes_give_identical_weights(tmp_path: Path, precision: Any) -> None:
    layouts: list[dict[str, str]] = [{"format": name} for name in FORMATS]
    layouts += [{"prefix": "roberta."}, {"prefix": "module.model.", "format": "sharded"}]
    found = set()
    for i, layout in enumerate(layouts):
        bundle = export(write_checkpoint(tmp_path / f"{i}", **layout), tmp_path / f"out{i}", precision=precision)
        found.add(tuple((bundle.path / name).read_bytes() for name in ("weights.bin", "model.onnx", "golden.json")))
    assert len(found) == 1


# ---- what it holds


def test_the_manifest_records_every_source_file_by_its_hash(checkpoint: Path, bundle_fp32: Path) -> None:
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    manifest = json.loads((bundle_fp32 / "m3rt.json").read_text("utf-8"))
    assert manifest["source"] == {"id": "tiny-m3", "revision": None, "files": {
        path.relative_to(checkpoint).as_posix(): {
            "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()
        } for path in files
    }}  # fmt: skip


def test_the_manifest_lists_every_file_of_the_bundle(bundle_fp32: Path) -> None:
    bundle = open_bundle(bundle_fp32)
    sizes = {p.relative_to(bundle_fp32).as_posix(): p.stat().st_size for p in bundle_fp32.rglob("*") if p.is_file()}
    assert {*bundle.manifest.files, "m3rt.json"} == set(sizes)
    read: list[int] = []
    check_hashes(bundle, read.append)
    assert sum(read) == bundle.size() == sum(sizes.values()) - sizes["m3rt.json"]


@pytest.mark.parametrize("dense_only", [False, True])
def test_the_manifest_names_the_graphs_ports(checkpoint: Path, tmp_path: Path, dense_only: bool) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", dense_only=dense_only)
    session = onnxruntime.InferenceSession(bundle.path / "model.onnx", providers=["CPUExecutionProvider"])
    types = {"int64": "tensor(int64)", "float32": "tensor(float)", "bool": "tensor(bool)"}
    for ports, found in (
        (bundle.manifest.graph.inputs, session.get_inputs()),
        (bundle.manifest.graph.outputs, session.get_outputs()),
    ):
        assert [(p.name, types[p.dtype], list(p.shape)) for p in ports] == [(f.name, f.type, f.shape) for f in found]
    assert len(session.get_outputs()) == (1 if dense_only else 3)


@pytest.mark.parametrize(("kind", "ids"), [("m3", (0, 2, 1, 3)), ("bert", (2, 3, 0, 1))])
def test_the_manifest_describes_the_model(tmp_path: Path, kind: str, ids: tuple[int, ...]) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind, positions=90)
    manifest = export(checkpoint, tmp_path / "bundle", dense_only=kind != "m3").manifest
    special, shape = manifest.special_tokens, manifest.architecture
    assert (special.bos, special.eos, special.pad, special.unk) == ids
    assert (shape.hidden_size, shape.layers, shape.heads, shape.intermediate_size) == (32, 2, 2, 64)
    assert (manifest.max_tokens, shape.colbert_dim) == ((88, 32) if kind == "m3" else (90, 0))


def test_a_tokenizer_without_a_limit_leaves_it_to_the_positions(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", positions=50)
    (checkpoint / "sentence_bert_config.json").unlink()
    edit_json(checkpoint / "tokenizer_config.json", model_max_length=10**30)
    model = encoder(export(checkpoint, tmp_path / "bundle"))
    assert model.manifest.max_tokens == 48
    assert model.encode("word " * 60).n_tokens.tolist() == [48]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_lie_page_aligned_inside_the_one_external_file(
    checkpoint: Path, tmp_path: Path, precision: Any
) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", precision=precision)
    places = sorted((offset, offset + length) for offset, length in external(bundle).values())
    assert len(places) >= 8
    assert all(start % 4096 == 0 for start, _ in places)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert places[-1][1] == (bundle.path / "weights.bin").stat().st_size


# ---- prompts


def test_prompts_of_sentence_transformers_are_taken_over(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    prompts = {"query": "q: ", "document": "d: ", "other": "o: "}
    edit_json(checkpoint / "config_sentence_transformers.json", prompts=prompts)
    assert export(checkpoint, tmp_path / "bundle").manifest.prompts == {"query": "q: ", "passage": "d: "}


@pytest.mark.parametrize(("name", "prompts"), [
    ("bge-small-en-v1.5", {"query": "Represent this sentence for searching relevant passages: "}),
    ("bge-base-zh-v1.5", {"query": "为这个句子生成表示以用于检索相关文章："}),
    ("multilingual-e5-small", {"query": "query: ", "passage": "passage: "}),
    ("bge-m3", {}),
])  # fmt: skip
def test_models_get_the_prompts_of_their_model_card(tmp_path: Path, name: str, prompts: dict[str, str]) -> None:
    checkpoint = write_checkpoint(tmp_path / name, kind="bert")
    assert export(checkpoint, tmp_path / "bundle", dense_only=True).manifest.prompts == prompts


def test_e5_gets_the_prompts_that_its_card_asks_for(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "multilingual-e5-small", kind="dense", pooling="mean")
    bundle = export(checkpoint, tmp_path / "out", precision="fp32", dense_only=True)
    assert bundle.manifest.prompts == {"query": "query: ", "passage": "passage: "}
