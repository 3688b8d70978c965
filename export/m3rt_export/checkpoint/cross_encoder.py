"""Rerankers: whether config.json is of one, how many labels it has, and what Sentence Transformers' files say of it.

Source: transformers 4.57, modeling_xlm_roberta.py and modeling_bert.py; sentence_transformers 5.7, CrossEncoder.
"""

from __future__ import annotations

from pathlib import Path

from m3rt.bundle.fields import Activation, Classifier
from m3rt.errors import CheckpointError

from .json_file import Fields, read_fields, read_json
from .sentence_transformers import read_settings

# Sequence classifiers that the graph builder knows, by model type, and </s> between their two texts.
_SEPARATORS = {"xlm-roberta": 2, "roberta": 2, "camembert": 2, "bert": 1}
_SUFFIX = "ForSequenceClassification"
_SUPPORTED = "XLMRobertaForSequenceClassification or BertForSequenceClassification"
# By the class's name before that ending.
_KNOWN = {"XLMRoberta": "xlm-roberta", "Roberta": "roberta", "Camembert": "camembert", "Bert": "bert"}
_ACTIVATIONS: dict[str, Activation] = {
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.Sigmoid": "sigmoid",
    "torch.nn.Identity": "identity",
}
_HARMLESS = {
    "transformer_task": ("sequence-classification",),
    "module_output_name": ("scores",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "logits"}},),
    "backend": ("torch",),
}
_LARGEST_LABELS = 1 << 16


def read_classifier(directory: Path, fields: Fields) -> Classifier | None:
    """What a reranker's files say of its head; None for a model that is no sequence classifier.

    Raises CheckpointError, with its name, for a classifier of an architecture that is not built here.
    """
    names = fields.get("architectures", (list,), "a list of class names") or []
    name = next((str(name) for name in names if str(name).endswith(_SUFFIX)), None)
    if name is None:
        return None
    model_type = _KNOWN.get(name.removesuffix(_SUFFIX))
    if model_type is None or model_type != fields.text("model_type"):
        raise CheckpointError(
            f"{fields.path}: the architecture is {name!r:.80} with model_type {fields.text('model_type')!r:.40}, a "
            f"reranker that is not supported, expected {_SUPPORTED}"
        )
    _check_modules(directory)
    labels = _labels(fields)
    return Classifier(labels, _activation(directory, fields, labels), _SEPARATORS[model_type])


def refuse_generative(folder: Path) -> None:
    """Raise CheckpointError for a language model, such as an LLM reranker."""
    fields = read_fields(folder / "config.json")
    names = [str(name) for name in fields.raw.get("architectures") or () if str(name).endswith("ForCausalLM")]
    if names:
        raise CheckpointError(
            f"{fields.path}: the architecture is {names[0]!r:.80}, a language model, of which no reranker is built "
            f"here, expected an encoder, or {_SUPPORTED}"
        )


def read_limits(folder: Path) -> tuple[int | None, bool]:
    """read_settings() of a reranker's folder."""
    return read_settings(folder, _HARMLESS)


def _labels(fields: Fields) -> int:
    """As transformers counts them: two where nothing says otherwise."""
    names = fields.get("id2label", (dict,), "labels by number")
    count = len(names) if names is not None else fields.number("num_labels", default=2)
    if not 1 <= count <= _LARGEST_LABELS:
        fields.fail("id2label", f"1 to {_LARGEST_LABELS} labels")
    return count


def _activation(directory: Path, fields: Fields, labels: int) -> Activation:
    """CrossEncoder's own default is a sigmoid for one label; its files may say otherwise."""
    settings = read_fields(directory / "config_sentence_transformers.json")
    settings.refuse_others({"__version__", "prompts", "default_prompt_name", "model_type", "activation_fn"})
    if settings.text("model_type") not in ("", "CrossEncoder"):
        settings.fail("model_type", "CrossEncoder, since config.json is of a reranker")
    settings.object("prompts").refuse_others(set())
    sources = (
        (settings, "activation_fn"),
        (fields.object("sentence_transformers"), "activation_fn"),
        (fields, "sbert_ce_default_activation_function"),
    )
    for source, key in sources:
        if name := source.text(key):
            if name not in _ACTIVATIONS:
                source.fail(key, f"one of {', '.join(_ACTIVATIONS)}")
            return _ACTIVATIONS[name]
    return "sigmoid" if labels == 1 else "identity"


def _check_modules(directory: Path) -> None:
    path = directory / "modules.json"
    if not path.exists():
        return
    entries = read_json(path)
    kinds = [
        (str(entry.get("type")).rpartition(".")[2], entry.get("path")) if isinstance(entry, dict) else (None, None)
        for entry in (entries if isinstance(entries, list) else [None])
    ]
    if kinds != [("Transformer", "")]:
        raise CheckpointError(
            f"{path} lists other modules than a reranker's one Transformer, but config.json is of a reranker; expected "
            "either"
        )
