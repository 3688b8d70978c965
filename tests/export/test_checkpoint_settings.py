"""What a checkpoint's settings say that changes the vectors is honoured or refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from checkpoints import sentences, write_checkpoint, write_json
from m3rt_export import export
from m3rt_export.checkpoint.config import read_config

from m3rt import CheckpointError, M3Encoder

POOLING, SETTINGS = "1_Pooling/config.json", "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
ST = "sentence_transformers.models."


def edit(path: Path, **values: Any) -> None:
    write_json(path, (json.loads(path.read_text("utf-8")) if path.exists() else {}) | values)


def write_modules(checkpoint: Path, *kinds: str, **paths: str) -> None:
    """modules.json with these kinds in this order."""
    folders = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"} | paths
    entries = [
        {"idx": i, "name": str(i), "path": folders.get(kind.rpartition(".")[2], f"{i}_x"),
         "type": kind if "." in kind else ST + kind}
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    write_json(checkpoint / "modules.json", entries)


def refusal(checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_config(checkpoint, checkpoint.name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", kind="dense")


# ---- modules.json


@pytest.mark.parametrize("kinds", [["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]])
@pytest.mark.parametrize("package", [ST, "sentence_transformers.sentence_transformer.modules.pooling."])
def test_modules_that_the_graph_holds_are_read(checkpoint: Path, kinds: list[str], package: str) -> None:
    write_modules(checkpoint, *(package + kind for kind in kinds))
    assert read_config(checkpoint, "x").pooling == "cls"


@pytest.mark.parametrize("kind", [
    "Dense", "LayerNorm", "WordEmbeddings", "LSTM", "CNN", "Dropout", "BoW", "WordWeights", "WeightedLayerPooling",
    "CLIPModel", "Asym", "Router", "StaticEmbedding", "SpladePooling", "MLMTransformer",
])  # fmt: skip
def test_any_other_module_is_refused_by_its_name(checkpoint: Path, kind: str) -> None:
    write_modules(checkpoint, "Transformer", "Pooling", kind)
    assert f"the module {kind} is not supported" in refusal(checkpoint)


@pytest.mark.parametrize("kinds", [
    [], ["Transformer"], ["Pooling"], ["Pooling", "Transformer"], ["Transformer", "Normalize", "Pooling"],
    ["Transformer", "Pooling", "Pooling"], ["Transformer", "Transformer", "Pooling"], ["Transformer", "Normalize"],
])  # fmt: skip
def test_modules_in_an_order_without_sense_are_refused(checkpoint: Path, kinds: list[str]) -> None:
    write_modules(checkpoint, *kinds)
    assert f"lists {', '.join(kinds) or 'no module'}, expected Transformer, Pooling" in refusal(checkpoint)


@pytest.mark.parametrize("kind", ["custom_st.Transformer", "pylate.models.Transformer", "Transformer"])
def test_a_module_of_code_of_its_own_is_refused(checkpoint: Path, kind: str) -> None:
    write_json(checkpoint / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": kind}])
    assert "code of others is never run" in refusal(checkpoint)


def test_modules_of_one_name_are_refused(checkpoint: Path) -> None:
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    write_json(checkpoint / "modules.json", [module | {"name": "0"} for module in modules])
    assert "the same name" in refusal(checkpoint)


@pytest.mark.parametrize("path", ["../1_Pooling", "/etc", "a/b", "..", "\x1b[2J"])
def test_a_module_stays_in_the_checkpoint(checkpoint: Path, path: str) -> None:
    write_modules(checkpoint, "Transformer", "Pooling", Pooling=path)
    assert f"{path!r}, expected the name of a folder" in refusal(checkpoint)


def test_a_pooling_of_another_folder_is_read(checkpoint: Path) -> None:
    write_modules(checkpoint, "Transformer", "Pooling", Pooling="my_pooling")
    edit(checkpoint / "my_pooling" / "config.json", pooling_mode="mean")
    assert read_config(checkpoint, "x").pooling == "mean"


def test_a_listed_pooling_without_its_config_is_refused(checkpoint: Path) -> None:
    (checkpoint / POOLING).unlink()
    assert f"{checkpoint / POOLING} is missing" in refusal(checkpoint)


def test_without_modules_the_first_token_is_the_vector_as_flagembedding_has_it(checkpoint: Path) -> None:
    (checkpoint / POOLING).unlink()
    (checkpoint / "modules.json").unlink()
    assert read_config(checkpoint, "x").pooling == "cls"


def test_the_old_layout_gives_the_same_vectors(tmp_path: Path) -> None:
    new = write_checkpoint(tmp_path / "new", kind="bert", pooling="mean")
    old = write_checkpoint(tmp_path / "old", kind="bert", pooling="mean")
    folder = old / "0_Transformer"
    folder.mkdir()
    for path in old.iterdir():
        if path.is_file() and path.name not in ("modules.json", PROMPTS):
            path.rename(folder / path.name)
    write_json(old / "config.json", {"__version__": "0.3.6"})
    write_modules(old, "Transformer", "Pooling", Transformer="0_Transformer")
    bundles = [export(path, tmp_path / f"out-{path.name}", precision="fp32", dense_only=True) for path in (new, old)]
    ours, theirs = (M3Encoder(bundle.path, threads=1).encode(sentences()[:5]).dense_vecs for bundle in bundles)
    np.testing.assert_array_equal(ours, theirs)
    assert {"0_Transformer/config.json", "0_Transformer/pytorch_model.bin", "1_Pooling/config.json"} <= {
        *bundles[1].manifest.source.files
    }


# ---- pooling


@pytest.mark.parametrize(("settings", "found"), [
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
    ({"word_embedding_dimension": 32}, "mean"),  # Pooling's default
    ({"pooling_mode": "cls"}, "cls"),
    ({"pooling_mode": "MEAN", "pooling_mode_cls_token": True}, "mean"),
    ({"pooling_mode": ["mean"], "embedding_dimension": 32}, "mean"),
    ({"pooling_mode_mean_tokens": True, "include_prompt": True}, "mean"),
    ({"pooling_mode_mean_tokens": True, "include_prompt": False}, "mean"),  # there is no prompt
])  # fmt: skip
def test_pooling_is_read_as_sentence_transformers_reads_it(
    checkpoint: Path, settings: dict[str, Any], found: str
) -> None:
    write_json(checkpoint / POOLING, settings)
    assert read_config(checkpoint, "x").pooling == found


@pytest.mark.parametrize(("settings", "words"), [
    ({}, "pooling is unset, expected cls or mean"),
    ({"pooling_mode_cls_token": True}, "pooling is cls_token + mean_tokens"),  # mean is on by default
    ({"pooling_mode_mean_tokens": False}, "pooling is unset"),
    ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "pooling is max_tokens"),
    ({"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}, "pooling is lasttoken"),
    ({"pooling_mode_mean_tokens": False, "pooling_mode_weightedmean_tokens": True}, "pooling is weightedmean_tokens"),
    ({"pooling_mode_mean_tokens": False, "pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len_tokens"),
    ({"pooling_mode": ["cls", "mean"]}, "pooling is cls_token + mean_tokens"),
    ({"pooling_mode": "attention"}, "pooling is 'attention'"),
    ({"pooling_mode_cls_token": "yes"}, "pooling_mode_cls_token is 'yes', expected true or false"),
    ({"pooling_mode": "cls", "word_embedding_dimension": 31}, "pooling is of 31 numbers, expected hidden_size 32"),
    ({"pooling_mode": "cls", "pooling_mode_attention": True}, "'pooling_mode_attention' is True, which is not supp"),
])  # fmt: skip
def test_any_other_pooling_is_refused(checkpoint: Path, settings: dict[str, Any], words: str) -> None:
    write_json(checkpoint / POOLING, settings)
    assert words in refusal(checkpoint)


def test_a_prompt_that_is_not_pooled_is_refused(checkpoint: Path) -> None:
    write_json(checkpoint / POOLING, {"pooling_mode": "mean", "include_prompt": False})
    edit(checkpoint / PROMPTS, prompts={"query": "q: "})
    assert "include_prompt is false" in refusal(checkpoint)
    write_json(checkpoint / POOLING, {"pooling_mode": "cls", "include_prompt": False})  # <s> is pooled anyway
    assert read_config(checkpoint, "x").prompts == {"query": "q: "}


# ---- sentence_bert_config.json


@pytest.mark.parametrize("settings", [
    {"max_seq_length": 64, "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
     "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}},
    {"max_seq_length": 64, "model_args": {}, "tokenizer_args": None, "config_args": {"trust_remote_code": True}},
    {"max_seq_length": 64, "model_args": {"torch_dtype": "float16", "add_pooling_layer": False}, "new": None},
])  # fmt: skip
def test_harmless_settings_are_let_through(checkpoint: Path, settings: dict[str, Any]) -> None:
    write_json(checkpoint / SETTINGS, settings)
    assert read_config(checkpoint, "x").max_tokens == 64


@pytest.mark.parametrize(("settings", "words"), [
    ({"max_seq_length": 0}, "max_seq_length is 0"),
    ({"max_seq_length": True}, "max_seq_length is True"),
    ({"max_seq_length": "512"}, "max_seq_length is '512'"),
    ({"do_lower_case": 1}, "do_lower_case is 1, expected true or false"),
    ({"transformer_task": "fill-mask"}, "transformer_task is 'fill-mask', expected 'feature-extraction'"),
    ({"tokenizer_args": {"do_lower_case": True}}, "'do_lower_case' is True, which is not supported"),
    ({"config_args": {"num_hidden_layers": 3}}, "'num_hidden_layers' is 3, which is not supported"),
    ({"query_instruction": "q"}, "'query_instruction' is 'q', which is not supported"),
])  # fmt: skip
def test_any_other_setting_of_the_transformer_is_refused(
    checkpoint: Path, settings: dict[str, Any], words: str
) -> None:
    write_json(checkpoint / SETTINGS, settings)
    assert words in refusal(checkpoint)


def test_the_settings_may_have_the_model_types_name(checkpoint: Path) -> None:
    (checkpoint / SETTINGS).unlink()
    write_json(checkpoint / "sentence_xlm-roberta_config.json", {"max_seq_length": 77, "do_lower_case": False})
    assert read_config(checkpoint, "x").max_tokens == 77


# ---- prompts and similarity


@pytest.mark.parametrize(("settings", "words"), [
    ({"default_prompt_name": "query", "prompts": {"query": "q: "}}, "default_prompt_name is 'query', expected null"),
    ({"truncate_dim": 16}, "'truncate_dim' is 16, which is not supported"),
    ({"similarity_fn_name": "manhattan"}, "similarity_fn_name is 'manhattan', expected cosine"),
    ({"model_type": "SparseEncoder"}, "model_type is 'SparseEncoder'"),
    ({"prompts": {"query": 1}}, "query is 1, expected a text"),
    ({"prompts": ["q: "]}, "prompts is ['q: '], expected an object"),
])  # fmt: skip
def test_what_changes_vectors_or_their_order_is_refused(checkpoint: Path, settings: dict[str, Any], words: str) -> None:
    edit(checkpoint / PROMPTS, **settings)
    assert words in refusal(checkpoint)


def test_dot_products_need_vectors_that_were_normalised_before(checkpoint: Path) -> None:
    edit(checkpoint / PROMPTS, similarity_fn_name="dot", default_prompt_name=None, model_type="SentenceTransformer")
    assert read_config(checkpoint, "x").pooling == "cls"
    write_modules(checkpoint, "Transformer", "Pooling")
    assert "similarity_fn_name is 'dot'" in refusal(checkpoint)


# ---- config.json


@pytest.mark.parametrize("kind", ["dense", "bert"])
@pytest.mark.parametrize(("values", "words"), [
    ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"),
    ({"hidden_act": {"gelu": 1}}, "hidden_act is {'gelu': 1}"),
    ({"position_embedding_type": "rotary"}, "position_embedding_type is 'rotary'"),
    ({"add_cross_attention": True}, "add_cross_attention is 'True', expected an encoder"),
    ({"is_encoder_decoder": True}, "is_encoder_decoder is 'True', expected an encoder"),
    ({"pruned_heads": {"0": [1]}}, "pruned_heads is"),
    ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config is"),
    ({"auto_map": {"AutoModel": "x--modeling.M"}}, "auto_map is"),
    ({"adapters": {"adapters": {"a": 1}}}, "adapters is"),
    ({"num_attention_heads": True}, "num_attention_heads is True, expected a whole number"),
    ({"hidden_size": 32.0}, "hidden_size is 32.0, expected a whole number"),
    ({"vocab_size": 10**400}, "vocab_size is 1000"),
    ({"layer_norm_eps": 10**400}, "layer_norm_eps is 1000"),
    ({"matryoshka_dimensions": [64]}, "matryoshka_dimensions is [64]"),
])  # fmt: skip
def test_what_the_graph_does_not_compute_is_refused(
    tmp_path: Path, kind: str, values: dict[str, Any], words: str
) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind=kind)
    edit(checkpoint / "config.json", **values)
    assert words in refusal(checkpoint)


def test_what_changes_nothing_is_let_through(checkpoint: Path) -> None:
    values = {"chunk_size_feed_forward": 64, "torch_dtype": "float16", "dtype": "bfloat16", "pruned_heads": {},
              "auto_map": None, "is_decoder": False, "id2label": {"0": "x"}, "output_past": True}  # fmt: skip
    edit(checkpoint / "config.json", **values)
    assert read_config(checkpoint, "x").supported


def test_the_pad_id_of_bert_may_differ_because_no_position_counts_from_it(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind="bert")
    edit(checkpoint / "config.json", pad_token_id=7)
    model = M3Encoder(export(checkpoint, tmp_path / "out", precision="fp32", dense_only=True).path, threads=1)
    texts = sentences()[:6]
    expected = reference.encode(checkpoint, [model.tokenize(text) for text in texts])
    assert (model.encode(texts).dense_vecs * expected.dense).sum(1).min() > 1 - 1e-6
