"""A checkpoint's configuration, read once and validated: the settings that the graph and the manifest need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from m3rt.bundle.fields import Architecture, Classifier, Pooling, SpecialTokens
from m3rt.errors import CheckpointError

from . import layout
from .cross_encoder import read_classifier, read_limits
from .json_file import Fields, read_fields, understood
from .sentence_transformers import Modules, read_modules, read_pooling, read_prompts, read_settings
from .tokenizer_config import TokenizerConfig
from .tokenizer_json import read_tokenizer, special_tokens

# Encoders that the graph builder knows. Both families share tensor names and differ in how they count positions.
ROBERTA = ("xlm-roberta", "roberta", "camembert")
BERT = ("bert",)
SUPPORTED = (*ROBERTA, *BERT)

# Prompts that model cards ask for but no file of the checkpoint records, by a pattern of the model's name.
_PROMPTS = (
    (r"bge-\w+-zh-v1\.5", {"query": "为这个句子生成表示以用于检索相关文章："}),
    (r"bge-\w+-en-v1\.5", {"query": "Represent this sentence for searching relevant passages: "}),
    (r"(^|[-/])e5-(small|base|large)(-v2)?($|[-_ ])", {"query": "query: ", "passage": "passage: "}),
)
# Keys that must be empty or false, because no graph here can do that.
_NOT_BUILT = {
    "is_decoder": "expected an encoder",
    "is_encoder_decoder": "expected an encoder",
    "add_cross_attention": "expected an encoder",
    "pruned_heads": "expected a model with all heads, the pruned ones with weights of 0",
}
_NOT_READ = {
    "quantization_config": "expected weights that are not quantized: give the original checkpoint",
    "auto_map": "expected a model of transformers' own: the checkpoint's code is never run",
    "adapters": "expected a model without adapters: merge them first",
}


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a checkpoint that m3rt needs besides its tensors."""

    architecture: Architecture
    positions: int
    token_types: int
    first_position: int | None  # None: positions count from 0, pads included, as in BERT
    pad_id: int
    epsilon: float
    pooling: Pooling
    max_tokens: int
    prompts: dict[str, str]
    matryoshka_dims: tuple[int, ...]
    special_tokens: SpecialTokens
    modules: Modules
    tokenizer: TokenizerConfig
    classifier: Classifier | None = None  # of a reranker

    @property
    def supported(self) -> bool:
        """Whether the graph builder knows this architecture."""
        return self.architecture.model_type in SUPPORTED

    @property
    def segments(self) -> bool:
        """Whether the model is told which of two texts a token is of."""
        return self.classifier is not None and self.architecture.model_type in BERT and self.token_types > 1


def read_config(directory: Path, model_id: str) -> Config:
    """Read config.json and the files beside it. CheckpointError names a value that is missing or not supported."""
    with understood(directory):
        root = read_fields(directory / layout.CONFIG)
        classifier = read_classifier(directory, root)
        modules = Modules() if classifier else read_modules(directory)
        return _read_config(directory, directory / modules.folder, modules, model_id, classifier)


def _read_config(
    directory: Path, folder: Path, modules: Modules, model_id: str, classifier: Classifier | None
) -> Config:
    fields = read_fields(folder / layout.CONFIG, required=True)
    if not (model_type := fields.text("model_type")):
        fields.fail("model_type", "a name; is this a model's config?")
    _refuse(fields, _NOT_READ)
    roberta = model_type in ROBERTA
    pad = fields.number("pad_token_id", low=0, default=1 if roberta and "pad_token_id" not in fields.raw else 0)
    architecture = _architecture(fields, model_type)
    if model_type in SUPPORTED:
        _check_known(fields, architecture, pad)
    limit, lowercase = read_limits(folder) if classifier else read_settings(folder)
    settings = TokenizerConfig.read(folder, fields, lowercase=lowercase, strict=model_type in SUPPORTED)
    special = special_tokens(read_tokenizer(settings), settings)
    if roberta and pad != special.pad:  # XLM-R counts positions from pad_token_id
        raise CheckpointError(
            f"{directory}: pad_token_id is {pad} in config.json and {special.pad} in the tokenizer, expected one"
        )
    positions = fields.number("max_position_embeddings", default=512)
    pooling: Pooling
    pooling, prompts = ("cls", {}) if classifier else _pooling(directory, modules, model_id, fields)
    return Config(
        architecture=architecture,
        positions=positions,
        token_types=fields.number("type_vocab_size", default=1),
        first_position=pad + 1 if roberta else None,
        pad_id=pad,
        epsilon=_epsilon(fields),
        pooling=pooling,
        max_tokens=_max_tokens(directory, limit or settings.limit, positions - pad - 1 if roberta else positions),
        prompts=prompts,
        matryoshka_dims=_matryoshka_dims(fields, architecture.hidden_size),
        special_tokens=special,
        modules=modules,
        tokenizer=settings,
        classifier=classifier,
    )


def _pooling(directory: Path, modules: Modules, model_id: str, fields: Fields) -> tuple[Pooling, dict[str, str]]:
    """How an encoder's tokens become one vector, and its prompts."""
    pooling, with_prompt = read_pooling(directory, modules, fields.number("hidden_size", "dim", "d_model"))
    prompts = _prompts(directory, modules, model_id, fields)
    if prompts and pooling == "mean" and not with_prompt:
        raise CheckpointError(
            f"{directory / modules.pooling}: include_prompt is false and there are prompts {sorted(prompts)}, expected "
            "prompts that are pooled too"
        )
    return pooling, prompts


def _architecture(fields: Fields, model_type: str) -> Architecture:
    return Architecture(
        model_type=model_type,
        hidden_size=fields.number("hidden_size", "dim", "d_model"),
        layers=fields.number("num_hidden_layers", "n_layers"),
        heads=fields.number("num_attention_heads", "n_heads"),
        intermediate_size=fields.number("intermediate_size", "hidden_dim"),
        vocab_size=fields.number("vocab_size"),
    )


def _refuse(fields: Fields, keys: Mapping[str, str]) -> None:
    for key, expected in keys.items():
        if fields.raw.get(key):
            raise CheckpointError(f"{fields.path}: {key} is {str(fields.raw[key])!r:.80}, {expected}")


def _check_known(fields: Fields, architecture: Architecture, pad: int) -> None:
    _refuse(fields, _NOT_BUILT)
    for key, expected in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if (value := fields.raw.get(key, expected)) != expected:
            raise CheckpointError(f"{fields.path}: {key} is {value!r:.60}, the graph builder knows {expected!r} only")
    if pad >= architecture.vocab_size:
        raise CheckpointError(
            f"{fields.path}: pad_token_id is {pad}, expected an id below vocab_size {architecture.vocab_size}"
        )
    hidden, heads = architecture.hidden_size, architecture.heads
    if hidden % heads:
        raise CheckpointError(f"{fields.path}: hidden_size {hidden} is no multiple of num_attention_heads {heads}")


def _epsilon(fields: Fields) -> float:
    value = fields.get("layer_norm_eps", (int, float), "a small number such as 1e-05")
    if value is not None and not 0 <= value < 1:
        fields.fail("layer_norm_eps", "a small number such as 1e-05")
    return 1e-12 if value is None else float(value)


def _matryoshka_dims(fields: Fields, hidden: int) -> tuple[int, ...]:
    dims = fields.get("matryoshka_dimensions", (list,), "a list of sizes") or []
    if not all(type(dim) is int and 0 < dim <= hidden for dim in dims):
        fields.fail("matryoshka_dimensions", f"whole numbers from 1 to hidden_size {hidden}")
    return tuple(dims)


def _max_tokens(directory: Path, stated: int | None, positions: int) -> int:
    """The smaller of the limit that the files state, if any, and the usable positions."""
    limit = min(stated or positions, positions)
    if limit < 3:
        raise CheckpointError(f"{directory}: a text may have {limit} tokens, expected at least 3; check config.json")
    return limit


def _prompts(directory: Path, modules: Modules, model_id: str, fields: Fields) -> dict[str, str]:
    prompts = read_prompts(directory, modules.normalized)
    if not any(prompts.values()):
        names = f"{model_id} {fields.text('_name_or_path')} {directory.name}".lower()
        prompts = next((p for pattern, p in _PROMPTS if re.search(pattern, names)), {})
    return {role: text for role, text in prompts.items() if text}
