"""Exports: what a bundle computes and holds, and what an export leaves behind when it cannot be finished."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import reference
from checkpoints import FORMATS, State, sentences, write_checkpoint, write_json, xlm_roberta_tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from m3rt_export import export
from m3rt_export.texts import GOLDEN_TEXTS
from safetensors.numpy import load_file, save_file
from torch_archive import write_torch_file

from m3rt import BundleError, Embeddings, InputError, M3Encoder, M3rtError, OutputError
from m3rt.bundle import Bundle, check_hashes, golden, open_bundle
from m3rt.engines import reference_engine

ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
TEXTS = [*sentences()[::4], "", "<pad> <s> typed </s>", "word " * 60, " ".join(sentences())]
PRECISIONS = ("fp32", "fp16", "int8")
# Smallest cosine of a dense and of a ColBERT vector with the reference, and the largest error of a weight of
# about 3. Measured on these tiny models: 1 - 2e-7, 1 - 3e-5 and .996; 5e-6, .02 and .25.
CLOSE = {"fp32": (1 - 1e-6, 1e-5), "fp16": (1 - 2e-4, 0.1), "int8": (0.98, 0.6)}


def encoder(bundle: Bundle) -> M3Encoder:
    """On the CPU whatever the precision."""
    return M3Encoder.with_engine(bundle, reference_engine(bundle))


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


def external(bundle: Bundle) -> dict[str, tuple[int, int]]:
    """Offset and length of every tensor outside the graph file, all in weights.bin."""
    model = onnx.load(bundle.path / "model.onnx", load_external_data=False)
    entries = {t.name: {e.key: e.value for e in t.external_data} for t in model.graph.initializer if t.external_data}
    assert {entry["location"] for entry in entries.values()} == {"weights.bin"}
    return {name: (int(entry["offset"]), int(entry["length"])) for name, entry in entries.items()}


# ---- golden vectors


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_vectors_are_met_by_a_fresh_load(checkpoint: Path, tmp_path: Path, precision: Any) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", precision=precision)
    report = golden.check(encoder(open_bundle(bundle.path)), bundle)
    assert report.passed
    assert report.texts == len(GOLDEN_TEXTS)
    assert report.differences.keys() == {"dense_vecs", "input_ids", "lexical_weights", "colbert_vecs"}


def test_golden_vectors_are_the_outputs_rounded(bundle_fp32: Path, fp32: M3Encoder) -> None:
    records = json.loads((bundle_fp32 / "golden.json").read_text("utf-8"))
    assert [r["text"] for r in records] == list(GOLDEN_TEXTS)
    for record in records:
        out = fp32.encode(record["text"], **ALL)
        assert record["input_ids"] == xlm_roberta_tokenizer().encode(record["text"]).ids
        np.testing.assert_allclose(record["dense_vecs"], out.dense_vecs[0], atol=1e-5)
        np.testing.assert_allclose(record["colbert_vecs"], out.colbert_vecs[0][:, :16], atol=1e-5)
        weights = {int(token): weight for token, weight in record["lexical_weights"].items()}
        assert weights == pytest.approx(out.lexical_weights[0], abs=1e-5)


def test_golden_vectors_show_a_flipped_sign_in_any_weight(bundle_fp32: Path, tmp_path: Path) -> None:
    bundle = open_bundle(shutil.copytree(bundle_fp32, tmp_path / "bundle"))
    weights = bundle.path / "weights.bin"
    whole = weights.read_bytes()
    for name, (offset, length) in external(bundle).items():
        sign = offset + min(length, 3 * 32 * 4) - 1  # in row 2 of an embedding table: </s>, the first position
        weights.write_bytes(whole[:sign] + bytes([whole[sign] ^ 0x80]) + whole[sign + 1 :])
        assert not golden.check(encoder(bundle), bundle).passed, name
        with pytest.raises(BundleError, match=r"weights\.bin has SHA-256"):
            check_hashes(bundle)


@pytest.mark.parametrize("damage", ["", "[{}]", "{", '[{"text": 1}]', "[1]", '{"a": 1}', "null"])
def test_damaged_golden_vectors_are_a_bundle_error(bundle_fp32: Path, tmp_path: Path, damage: str) -> None:
    bundle = open_bundle(shutil.copytree(bundle_fp32, tmp_path / "bundle"))
    (bundle.path / "golden.json").write_text(damage)
    with pytest.raises(BundleError, match=r"golden\.json is damaged"):
        golden.check(encoder(bundle), bundle)


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


# ---- checkpoints that are not understood


def refusal(directory: Path, checkpoint: Path, **options: Any) -> str:
    """The one line of the error that an export into `directory` ends with; it leaves nothing there."""
    before = sorted(directory.iterdir()) if directory.exists() else []
    with pytest.raises(M3rtError) as caught:
        export(checkpoint, directory / "bundle", **options)
    assert sorted(directory.iterdir()) == before
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize("missing", [["sparse_linear.pt"], ["colbert_linear.pt"],
                                     ["sparse_linear.pt", "colbert_linear.pt"]])  # fmt: skip
def test_missing_heads_are_an_error_unless_the_export_is_dense_only(tmp_path: Path, missing: list[str]) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    for name in missing:
        (checkpoint / name).unlink()
    message = refusal(tmp_path, checkpoint)
    assert message.startswith("CheckpointError")
    assert all(name in message for name in [*missing, "--dense-only"])
    bundle = export(checkpoint, tmp_path / "bundle", dense_only=True)
    with pytest.raises(InputError, match="dense bundle without sparse and ColBERT heads"):
        encoder(bundle).encode("x", return_sparse=True)


def test_a_dense_only_export_has_the_same_dense_vectors_and_no_head(
    checkpoint: Path, tmp_path: Path, fp32: M3Encoder
) -> None:
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp32", dense_only=True)
    assert set(bundle.manifest.source.files).isdisjoint({"sparse_linear.pt", "colbert_linear.pt"})
    ours, theirs = encoder(bundle).encode(TEXTS).dense_vecs, fp32.encode(TEXTS).dense_vecs
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


QUERY = "encoder.layer.1.attention.self.query.weight"


def without_a_tensor(state: State) -> None:
    del state[QUERY]


def transposed(state: State) -> None:
    state["encoder.layer.0.intermediate.dense.weight"] = state["encoder.layer.0.intermediate.dense.weight"].T.copy()


def with_a_nan(state: State) -> None:
    state["encoder.layer.1.output.LayerNorm.bias"][5] = np.nan


def with_whole_numbers(state: State) -> None:
    state[QUERY] = state[QUERY].astype(np.int32)


@pytest.mark.parametrize(("damage", "words"), [
    (without_a_tensor, [QUERY, "is missing", "(32, 32)"]),
    (transposed, ["encoder.layer.0.intermediate.dense.weight", "(32, 64)", "(64, 32)"]),
    (with_a_nan, ["encoder.layer.1.output.LayerNorm.bias", "1 non-finite"]),
    (with_whole_numbers, [QUERY, "int32", "floats"]),
])  # fmt: skip
def test_an_unusable_tensor_is_named_with_what_was_expected(
    tmp_path: Path, damage: Callable[[State], None], words: list[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", format="safetensors")
    state = load_file(checkpoint / "model.safetensors")
    damage(state)
    save_file(state, checkpoint / "model.safetensors")
    for precision in PRECISIONS:
        message = refusal(tmp_path, checkpoint, precision=precision)
        assert message.startswith("CheckpointError")
        assert all(word in message for word in [*words, "model.safetensors"])


def test_a_head_of_the_wrong_width_is_named(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    head = {"weight": np.zeros((1, 31), np.float16), "bias": np.zeros(1, np.float16)}
    write_torch_file(checkpoint / "sparse_linear.pt", head)
    message = refusal(tmp_path, checkpoint)
    assert all(word in message for word in ("sparse_linear.pt", "'weight'", "(1, 31)", "(1, 32)"))


@pytest.mark.parametrize(("file", "values", "words"), [
    ("config.json", {"model_type": None}, "model_type is None"),
    ("config.json", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
    ("config.json", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
    ("config.json", {"is_decoder": True}, "expected an encoder"),
    ("config.json", {"num_attention_heads": 5}, "hidden_size 32 is no multiple of num_attention_heads 5"),
    ("config.json", {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
    ("config.json", {"vocab_size": "many"}, "vocab_size is 'many'"),
    ("config.json", {"pad_token_id": 10**9}, "expected an id below vocab_size"),
    ("config.json", {"pad_token_id": 5}, "pad_token_id is 5 in config.json and 1 in the tokenizer, expected one"),
    ("config.json", {"max_position_embeddings": 4}, "a text may have 2 tokens, expected at least 3"),
    ("sentence_bert_config.json", {"max_seq_length": 2}, "a text may have 2 tokens, expected at least 3"),
    ("config.json", {"layer_norm_eps": -1}, "layer_norm_eps is -1"),
    ("config.json", {"type_vocab_size": "two"}, "type_vocab_size is 'two', expected a whole number"),
    ("tokenizer.json", {"post_processor": None}, "makes [] of an empty text"),
    ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True}, "pooling is cls_token + mean_tokens"),
    ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "pooling is lasttoken, expected cls or mean"),
    ("special_tokens_map.json", {"pad_token": "<nothing>"}, "pad_token is '<nothing>' and '<pad>'"),
])  # fmt: skip
def test_an_unknown_configuration_is_refused_with_its_value(
    tmp_path: Path, file: str, values: dict[str, Any], words: str
) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    edit_json(checkpoint / file, **values)
    assert words in refusal(tmp_path, checkpoint)


def test_a_module_that_the_graph_lacks_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    write_json(checkpoint / "modules.json", [*modules, {"type": "sentence_transformers.models.Dense"}])
    assert "the module Dense is not supported" in refusal(tmp_path, checkpoint)


def test_an_architecture_that_is_not_known_asks_for_what_can_export_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optimum", None)
    other = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    edit_json(other / "config.json", model_type="distilbert")
    message = refusal(tmp_path, other)
    assert "'distilbert' model, which the graph builder does not know (xlm-roberta, roberta" in message
    assert "--dense-only --precision fp32" in message
    assert 'pip install "m3rt[optimum]"' in refusal(tmp_path, other, precision="fp32", dense_only=True)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "1_Pooling/config.json"])
@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_garbled_configuration_is_refused(tmp_path: Path, file: str, garbage: bytes) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    (checkpoint / file).write_bytes(garbage)
    assert str(checkpoint / file) in refusal(tmp_path, checkpoint)


CONFIGS = {
    "config.json": ["pad_token_id", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_size",
                    "vocab_size", "num_hidden_layers", "model_type", "matryoshka_dimensions", "_name_or_path"],
    "1_Pooling/config.json": ["pooling_mode", "pooling_mode_cls_token"],
    "config_sentence_transformers.json": ["prompts"],
    "sentence_bert_config.json": ["max_seq_length"],
    "special_tokens_map.json": ["pad_token", "cls_token", "eos_token", "unk_token"],
    "tokenizer.json": ["added_tokens", "post_processor", "model", "normalizer"],
}  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["query", "content"]), inner),
    max_leaves=3,
)


@given(st.data(), ANYTHING)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_a_configuration_gives_a_bundle_or_one_line(
    checkpoint: Path, tmp_path: Path, data: st.DataObject, value: Any
) -> None:
    file = data.draw(st.sampled_from(sorted(CONFIGS)))
    broken = shutil.copytree(checkpoint, tmp_path / "checkpoint", dirs_exist_ok=True)
    edit_json(broken / file, **{data.draw(st.sampled_from(CONFIGS[file])): value})
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    try:
        encoder(export(broken, tmp_path / "out" / "bundle")).encode(["works", ""], **ALL)
    except M3rtError:
        assert refusal(tmp_path / "out", broken)


@pytest.mark.parametrize("options", [{"precision": "int4"}, {"engine": "tensorrt"}])
def test_an_unknown_option_is_refused_with_the_known_ones(
    checkpoint: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    ((name, value),) = options.items()
    message = refusal(tmp_path, checkpoint, **options)
    assert message.startswith(f"InputError: {name} is {value!r}, expected one of ")


def test_weights_that_overflow_on_every_text_make_no_bundle(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    head = {"weight": np.full((32, 32), 3e38, np.float32), "bias": np.zeros(32, np.float32)}
    write_torch_file(checkpoint / "colbert_linear.pt", head)
    assert "the colbert output is not finite" in refusal(tmp_path, checkpoint)


# ---- places that cannot be written


def test_a_directory_with_files_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine").write_text("precious")
    assert "exists and is not empty" in refusal(tmp_path, checkpoint)
    assert (tmp_path / "bundle" / "mine").read_text() == "precious"


def test_a_file_in_the_place_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("precious")
    assert refusal(tmp_path, checkpoint).startswith("OutputError")
    assert (tmp_path / "bundle").read_text() == "precious"


def test_an_empty_directory_and_missing_parents_will_do(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        assert encoder(export(checkpoint, out)).encode("x").dense_vecs.shape == (1, 32)


def test_a_file_as_the_parent_is_an_output_error(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="cannot be written"):
        export(checkpoint, tmp_path / "file" / "bundle")
    assert (tmp_path / "file").read_text() == "precious"


# In a process of its own, because these settings cannot be undone.
RESTRICTED = """
import os, resource, sys
import filelock, m3rt_export.exporter  # before the rights to read them are gone
from m3rt import M3rtError
source, out, limit = sys.argv[1:]
if limit != "nobody":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
elif os.geteuid() == 0:
    os.setuid(65534)
try:
    m3rt_export.export(source, out, precision="fp32")
except M3rtError as error:
    print(type(error).__name__, error)
"""


def restricted_export(checkpoint: Path, out: Path, limit: str) -> str:
    arguments = [sys.executable, "-c", RESTRICTED, str(checkpoint), str(out), limit]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.parametrize("limit", ["60000", "200000"], ids=["in tokenizer.json", "in weights.bin"])
def test_a_full_disk_is_one_line_and_leaves_nothing(checkpoint: Path, tmp_path: Path, limit: str) -> None:
    line = restricted_export(checkpoint, tmp_path / "bundle", limit)
    assert line.startswith(f"OutputError {tmp_path / 'bundle'} cannot be written: File too large; nothing was kept")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["unwritable", "unsearchable"])
def test_a_forbidden_parent_is_one_line(checkpoint: Path, mode: int) -> None:
    with TemporaryDirectory() as parent:
        os.chmod(parent, mode)
        line = restricted_export(checkpoint, Path(parent, "bundle"), "nobody")
        os.chmod(parent, 0o700)
        assert line.startswith(f"OutputError {parent}/bundle cannot be written: Permission denied")
        assert os.listdir(parent) == []


def test_paths_may_hold_any_character_and_lead_through_links(tmp_path: Path, fp32: M3Encoder) -> None:
    real = tmp_path / "Prüf stand 数据"
    write_checkpoint(real / "modèle 'x' #1")
    (tmp_path / "source").symlink_to(real / "modèle 'x' #1", target_is_directory=True)
    (tmp_path / "parent").symlink_to(real, target_is_directory=True)
    bundle = export(tmp_path / "source", tmp_path / "parent" / "büñdel 🚀", precision="fp32")
    assert bundle.manifest.source.id == "modèle 'x' #1"
    (tmp_path / "link").symlink_to(bundle.path, target_is_directory=True)
    for path in (bundle.path, tmp_path / "link", real / "büñdel 🚀"):
        model = M3Encoder(path, threads=1)
        np.testing.assert_array_equal(model.encode(TEXTS).dense_vecs, fp32.encode(TEXTS).dense_vecs)


# ---- exports that are interrupted

PAUSED = """
import sys
from m3rt import M3rtError
from m3rt_export import export
source, out, pause = sys.argv[1:]
def progress(step):
    print(step, flush=True)
    if step == pause:
        sys.stdin.readline()
try:
    export(source, out, precision="fp32", progress=progress)
except M3rtError as error:
    print(error)
"""


class Paused:
    """An export in another process that waits at one of its steps."""

    def __init__(self, checkpoint: Path, out: Path, step: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PAUSED, str(checkpoint), str(out), step],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.steps = [line.strip() for line in iter(self.process.stdout.readline, f"{step}\n")]

    def __enter__(self) -> "Paused":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("step", ["reading the checkpoint", "layer 2 of 2", "golden vectors"])
def test_a_killed_export_leaves_no_half_bundle_and_the_next_cleans_up(
    checkpoint: Path, tmp_path: Path, step: str
) -> None:
    with Paused(checkpoint, tmp_path / "bundle", step):
        pass
    lock, leftover = sorted(tmp_path.iterdir())
    assert lock.name == ".bundle.lock"
    assert leftover.name.startswith(".bundle.partial-")
    bundle = export(checkpoint, tmp_path / "bundle")
    check_hashes(bundle)
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_of_two_exports_to_one_place_the_second_is_refused_at_once_and_told_why(
    checkpoint: Path, tmp_path: Path
) -> None:
    with Paused(checkpoint, tmp_path / "bundle", "hashing") as first:
        with pytest.raises(OutputError, match="bundle is being written by another export; wait for it"):
            export(checkpoint, tmp_path / "bundle", precision="int8")
        first.process.communicate("go on\n")
    assert open_bundle(tmp_path / "bundle").manifest.precision == "fp32"
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_what_takes_the_place_meanwhile_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    with Paused(checkpoint, tmp_path / "bundle", "hashing") as export_:
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "mine").write_text("precious")
        out, _ = export_.process.communicate("go on\n")
    assert out.splitlines()[-1].startswith(f"{tmp_path / 'bundle'} cannot be written")
    assert [path.name for path in tmp_path.rglob("*")] == ["bundle", "mine"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
def test_a_bundle_has_the_rights_that_the_umask_leaves(checkpoint: Path, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        bundle = export(checkpoint, tmp_path / "bundle", precision="fp32")
    finally:
        os.umask(before)
    for path in (bundle.path, *bundle.path.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask


def test_an_interrupted_export_cleans_up_itself(checkpoint: Path, tmp_path: Path) -> None:
    def interrupt(step: str) -> None:
        if step == "layer 1 of 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "bundle", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def edit_json(path: Path, **values: Any) -> None:
    write_json(path, json.loads(path.read_text("utf-8")) | values)


def test_a_module_that_the_graph_does_not_hold_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    modules.append({"idx": 3, "name": "3", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (checkpoint / "modules.json").write_text(json.dumps(modules))
    assert "the module Dense is not supported" in refusal(tmp_path, checkpoint)


def test_a_tokenizer_larger_than_the_word_table_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", vocab=500)
    assert "expected below vocab_size 500" in refusal(tmp_path, checkpoint)


def test_e5_gets_the_prompts_that_its_card_asks_for(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "multilingual-e5-small", kind="dense", pooling="mean")
    bundle = export(checkpoint, tmp_path / "out", precision="fp32", dense_only=True)
    assert bundle.manifest.prompts == {"query": "query: ", "passage": "passage: "}
