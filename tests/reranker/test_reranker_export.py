"""Which classifiers are exported, what their manifest says, and which are refused by name."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from m3rt_export import export

from m3rt import BundleError, CheckpointError, InputError, M3Reranker, M3rtError
from m3rt.bundle import open_bundle
from m3rt.bundle.fields import Classifier
from m3rt.bundle.manifest import Manifest

IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"


def changed(directory: Path, file: str = "config.json", **changes: Any) -> Path:
    """The checkpoint with other values in one of its JSON files; None takes a key away."""
    path = directory / file
    values = json.loads(path.read_text("utf-8")) if path.exists() else {}
    values |= changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}), "utf-8")
    return directory


def exported(checkpoint: Path, **options: Any) -> Manifest:
    return export(checkpoint, checkpoint.parent / "bundle", precision="fp32", **options).manifest


@pytest.mark.parametrize(("kind", "separators"), [("reranker", 2), ("bert-reranker", 1)])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_has_its_engines_and_golden_pairs(
    rerankers: dict[str, Path], tmp_path: Path, kind: str, separators: int, precision: Any
) -> None:
    bundle = export(rerankers[kind], tmp_path / "bundle", precision=precision)
    assert bundle.manifest.classifier == Classifier(1, "sigmoid", separators)
    assert set(bundle.manifest.engines) == {"onnxruntime", "openvino"} - (
        {"openvino"} if precision == "fp16" else set()
    )
    golden = json.loads((bundle.path / "golden.json").read_text("utf-8"))
    assert all(set(record) == {"query", "passage", "input_ids", "logits"} for record in golden)
    assert Manifest.from_json(bundle.manifest.to_json()) == bundle.manifest


def test_an_encoders_manifest_has_no_key_for_a_classifier(bundle_fp32: Path) -> None:
    assert "classifier" not in json.loads((bundle_fp32 / "m3rt.json").read_text("utf-8"))
    assert "classifier" in asdict(open_bundle(bundle_fp32).manifest)


@pytest.mark.parametrize(
    ("file", "changes", "activation"),
    [
        ("config.json", {"sentence_transformers": {"activation_fn": IDENTITY}}, "identity"),
        ("config.json", {"sbert_ce_default_activation_function": IDENTITY}, "identity"),
        ("config.json", {"sentence_transformers": {"activation_fn": SIGMOID}}, "sigmoid"),
        ("config.json", {"sentence_transformers": {"activation_fn": "torch.nn.Identity"}}, "identity"),
        ("config_sentence_transformers.json", {"model_type": "CrossEncoder", "activation_fn": IDENTITY}, "identity"),
        ("config_sentence_transformers.json", {"model_type": "CrossEncoder", "prompts": {}}, "sigmoid"),
    ],
)
def test_the_activation_is_what_sentence_transformers_files_say(
    tmp_path: Path, file: str, changes: dict[str, Any], activation: str
) -> None:
    checkpoint = changed(write_checkpoint(tmp_path / "checkpoint", kind="reranker"), file, **changes)
    classifier = exported(checkpoint).classifier
    assert classifier is not None
    assert classifier.activation == activation


def test_several_labels_are_exported_without_a_sigmoid(tmp_path: Path) -> None:
    manifest = exported(write_checkpoint(tmp_path / "checkpoint", kind="bert-reranker", labels=4))
    assert manifest.classifier == Classifier(4, "identity", 1)


def test_files_that_crossencoder_saves_are_taken(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind="reranker")
    changed(checkpoint, "sentence_bert_config.json", transformer_task="sequence-classification",
            module_output_name="scores", max_seq_length=50)  # fmt: skip
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (checkpoint / "modules.json").write_text(json.dumps([module]), "utf-8")
    assert exported(checkpoint).max_tokens == 50


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "gte": ("config.json", {"architectures": ["NewForSequenceClassification"], "model_type": "new",
                            "auto_map": {"AutoConfig": "x"}}, "'NewForSequenceClassification' with model_type 'new'"),
    "deberta": ("config.json", {"architectures": ["DebertaV2ForSequenceClassification"], "model_type": "deberta-v2"},
                "'DebertaV2ForSequenceClassification'"),
    "modernbert": ("config.json", {"architectures": ["ModernBertForSequenceClassification"],
                                   "model_type": "modernbert"}, "'ModernBertForSequenceClassification'"),
    "remote code": ("config.json", {"auto_map": {"AutoModel": "x.py"}}, "the checkpoint's code is never run"),
    "llm": ("config.json", {"architectures": ["GemmaForCausalLM"], "model_type": "gemma"},
            "'GemmaForCausalLM', a language model"),
    "other type": ("config.json", {"model_type": "bert"}, "'XLMRobertaForSequenceClassification' with model_type"),
    "labels": ("config.json", {"id2label": {"0": "a", "1": "b"}}, "of shape .1, 32., expected floats of shape .2, 32."),
    "no labels": ("config.json", {"id2label": {}}, "expected 1 to 65536 labels"),
    "labels of no kind": ("config.json", {"id2label": "one"}, "id2label is 'one', expected labels by number"),
    "activation": ("config.json", {"sentence_transformers": {"activation_fn": "torch.nn.Tanh"}},
                   "activation_fn is 'torch.nn.Tanh', expected one of"),
    "prompts": ("config_sentence_transformers.json", {"prompts": {"query": "q: "}}, "'query' is 'q: '"),
    "encoder": ("config_sentence_transformers.json", {"model_type": "SentenceTransformer"}, "expected CrossEncoder"),
    "task": ("sentence_bert_config.json", {"transformer_task": "feature-extraction"}, "'sequence-classification'"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_built_is_refused_by_name(tmp_path: Path, file: str, changes: dict[str, Any], message: str) -> None:
    checkpoint = changed(write_checkpoint(tmp_path / "checkpoint", kind="reranker"), file, **changes)
    with pytest.raises(M3rtError, match=message) as caught:
        exported(checkpoint)
    assert isinstance(caught.value, CheckpointError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_modules_of_an_encoder_beside_a_reranker_are_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind="dense")
    changed(checkpoint, architectures=["XLMRobertaForSequenceClassification"])
    with pytest.raises(CheckpointError, match=r"modules\.json lists other modules"):
        exported(checkpoint, dense_only=True)


def test_a_reranker_has_no_dense_head(rerankers: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a reranker, which has no dense head; leave out --dense-only"):
        export(rerankers["reranker"], tmp_path / "bundle", precision="fp32", dense_only=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier": None}, "classifier is for a reranker and needed there"),
        ({"classifier": {"labels": 0, "activation": "sigmoid", "separators": 1}}, "labels is 0, expected 1"),
        (
            {"classifier": {"labels": 2, "activation": "sigmoid", "separators": 1}},
            "logits has shape .*, expected to end",
        ),
        ({"classifier": {"labels": 1, "activation": "tanh", "separators": 1}}, "classifier is"),
        ({"classifier": {"labels": 1, "activation": "sigmoid", "separators": 3}}, r"separators is 3, expected 1\.\.2"),
        ({"classifier": {"labels": 1, "activation": "sigmoid"}}, "classifier has no separators"),
        ({"kind": "dense"}, "classifier is for a reranker"),
    ],
)
def test_a_manifest_that_no_export_wrote_is_refused(
    bundles: dict[str, Path], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    raw = json.loads((bundles["reranker"] / "m3rt.json").read_text("utf-8"))
    with pytest.raises(BundleError, match=message) as caught:
        Manifest.from_json(json.dumps(raw | change))
    assert "\n" not in str(caught.value)


def test_a_graph_without_the_input_that_tells_texts_apart_is_an_error_in_one_line(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    """A stranger's manifest may leave out a port that the graph has."""
    import shutil

    from m3rt import EngineError

    copy = shutil.copytree(bundles["bert-reranker"], tmp_path / "copy")
    raw = json.loads((copy / "m3rt.json").read_text("utf-8"))
    raw["graph"]["inputs"] = raw["graph"]["inputs"][:2]
    (copy / "m3rt.json").write_text(json.dumps(raw), "utf-8")
    with pytest.raises(EngineError, match="token_type_ids") as caught:
        M3Reranker(copy, engine="onnxruntime", threads=1).compute_score(("a", "b"))
    assert "\n" not in str(caught.value)
