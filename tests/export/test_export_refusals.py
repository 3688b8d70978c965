"""Checkpoints and options that an export refuses: one line that names the value, and nothing left behind."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import State, write_checkpoint
from exports import ALL, PRECISIONS, TEXTS, edit_json, encoder, refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export import export
from safetensors.numpy import load_file, save_file
from torch_archive import write_torch_file

from m3rt import InputError, M3Encoder, M3rtError


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


def test_a_module_that_the_graph_does_not_hold_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    modules.append({"idx": 3, "name": "3", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (checkpoint / "modules.json").write_text(json.dumps(modules))
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
@settings(max_examples=150)
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


@pytest.mark.parametrize("options", [{"precision": "int2"}, {"engine": "tensorrt"}])
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


def test_a_tokenizer_larger_than_the_word_table_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", vocab=500)
    assert "expected below vocab_size 500" in refusal(tmp_path, checkpoint)
