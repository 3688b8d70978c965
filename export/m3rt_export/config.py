"""A checkpoint's configuration files, read once and validated: what the graph and the manifest need."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3rt.errors import CheckpointError
from m3rt.manifest import Architecture, Pooling, SpecialTokens

# Encoders that the graph builder knows; both share tensor names and differ in how positions are counted.
ROBERTA = ("xlm-roberta", "roberta", "camembert")
BERT = ("bert",)
SUPPORTED = (*ROBERTA, *BERT)

# Prompts that model cards ask for and no file of the checkpoint records, by a pattern of the model's name.
_PROMPTS = (
    (r"bge-\w+-zh-v1\.5", {"query": "为这个句子生成表示以用于检索相关文章："}),
    (r"bge-\w+-en-v1\.5", {"query": "Represent this sentence for searching relevant passages: "}),
    (r"(^|[-/])e5-(small|base|large)(-v2)?($|[-_ ])", {"query": "query: ", "passage": "passage: "}),
)
# Modules of Sentence Transformers that the graph holds; any other would change the vectors.
_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class Config:
    """What m3rt needs to know of a checkpoint beside its tensors."""

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

    @property
    def supported(self) -> bool:
        """Whether the graph builder can write this architecture itself."""
        return self.architecture.model_type in SUPPORTED


def read_config(directory: Path, model_id: str) -> Config:
    """Read config.json and the Sentence Transformers files beside it; CheckpointError says what is missing."""
    try:
        return _read_config(directory, model_id)
    except (TypeError, ValueError, ArithmeticError, AttributeError, KeyError) as error:
        raise CheckpointError(
            f"{directory}: a JSON file holds a value of an unexpected kind ({error}); is the checkpoint complete?"
        ) from error


def _read_config(directory: Path, model_id: str) -> Config:
    raw = _json(directory / "config.json", required=True)
    get = _Getter(directory / "config.json", raw)
    model_type = get.text("model_type")
    known = model_type in SUPPORTED
    if known:
        _check_known(get)
    roberta = model_type in ROBERTA
    pad = int(raw.get("pad_token_id", 1 if roberta else 0) or 0)
    special_tokens = _special_tokens(directory)
    if known and pad != special_tokens.pad:
        raise CheckpointError(
            f"{directory}: pad_token_id is {pad} in config.json and {special_tokens.pad} in the tokenizer, expected one"
        )
    _check_modules(directory)
    positions = int(raw.get("max_position_embeddings") or 512)
    return Config(
        architecture=Architecture(
            model_type=model_type,
            hidden_size=get.number("hidden_size", "dim", "d_model"),
            layers=get.number("num_hidden_layers", "n_layers"),
            heads=get.number("num_attention_heads", "n_heads"),
            intermediate_size=get.number("intermediate_size", "hidden_dim"),
            vocab_size=get.number("vocab_size"),
        ),
        positions=positions,
        token_types=int(raw.get("type_vocab_size") or 1),
        first_position=pad + 1 if roberta else None,
        pad_id=pad,
        epsilon=float(raw.get("layer_norm_eps", 1e-12)),
        pooling=_pooling(directory),
        max_tokens=_max_tokens(directory, positions - pad - 1 if roberta else positions),
        prompts=_prompts(directory, model_id, raw),
        matryoshka_dims=tuple(int(d) for d in raw.get("matryoshka_dimensions") or ()),
        special_tokens=special_tokens,
    )


@dataclass(frozen=True, slots=True)
class _Getter:
    path: Path
    raw: dict[str, Any]

    def text(self, key: str) -> str:
        if not isinstance(value := self.raw.get(key), str):
            raise CheckpointError(f"{self.path}: {key} is {value!r}, expected a name; is this a model's config?")
        return value

    def number(self, *keys: str) -> int:
        value = next((self.raw[k] for k in keys if k in self.raw), None)
        if not isinstance(value, int) or value < 1:
            raise CheckpointError(f"{self.path}: {keys[0]} is {value!r}, expected a whole number above 0")
        return value


def _check_known(get: _Getter) -> None:
    for key, expected in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if (value := get.raw.get(key, expected)) != expected:
            raise CheckpointError(f"{get.path}: {key} is {value!r}, the graph builder knows {expected!r} only")
    if get.raw.get("is_decoder"):
        raise CheckpointError(f"{get.path}: is_decoder is true, expected an encoder")
    pad, vocab = get.raw.get("pad_token_id") or 0, get.number("vocab_size")
    if not 0 <= pad < vocab:
        raise CheckpointError(f"{get.path}: pad_token_id is {pad}, expected an id below vocab_size {vocab}")
    if not 0 <= (epsilon := float(get.raw.get("layer_norm_eps", 1e-12))) < 1:
        raise CheckpointError(f"{get.path}: layer_norm_eps is {epsilon}, expected a small number such as 1e-05")
    hidden, heads = get.number("hidden_size"), get.number("num_attention_heads")
    if hidden % heads:
        raise CheckpointError(f"{get.path}: hidden_size {hidden} is no multiple of num_attention_heads {heads}")


def _pooling(directory: Path) -> Pooling:
    raw = _json(directory / "1_Pooling" / "config.json")
    modes = [k.removeprefix("pooling_mode_") for k, v in raw.items() if k.startswith("pooling_mode_") and v is True]
    if "pooling_mode" in raw:  # the newer spelling: one name
        modes = [str(raw["pooling_mode"])]
    names: dict[str, Pooling] = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean"}
    if not raw:
        return "cls"  # FlagEmbedding's default
    if len(modes) != 1 or modes[0] not in names:
        found = " + ".join(modes) or "unset"
        raise CheckpointError(f"{directory / '1_Pooling' / 'config.json'}: pooling is {found}, expected cls or mean")
    return names[modes[0]]


def _check_modules(directory: Path) -> None:
    path = directory / "modules.json"
    if not path.is_file():
        return
    try:
        modules = [str(module["type"]).rpartition(".")[2] for module in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error!r}") from None
    if unknown := [name for name in modules if name not in _MODULES]:
        raise CheckpointError(f"{path}: the module {unknown[0]} is not supported, expected {', '.join(_MODULES)} only")


def _max_tokens(directory: Path, limit: int) -> int:
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value = _json(directory / name).get(key)
        # Tokenizers without a limit say 10**30.
        if isinstance(value, int) and 0 < value < 2**20:
            limit = min(value, limit)
            break
    if limit < 3:
        raise CheckpointError(f"{directory}: a text may have {limit} tokens, expected at least 3; check config.json")
    return limit


def _prompts(directory: Path, model_id: str, raw: dict[str, Any]) -> dict[str, str]:
    found = _json(directory / "config_sentence_transformers.json").get("prompts") or {}
    prompts = {
        "query": found.get("query", ""),
        "passage": found.get("passage", found.get("document", found.get("corpus", ""))),
    }
    if not any(prompts.values()):
        names = f"{model_id} {raw.get('_name_or_path', '')} {directory.name}".lower()
        prompts = next((p for pattern, p in _PROMPTS if re.search(pattern, names)), {})
    return {role: text for role, text in prompts.items() if text}


def _special_tokens(directory: Path) -> SpecialTokens:
    names = {**_json(directory / "tokenizer_config.json"), **_json(directory / "special_tokens_map.json")}
    tokenizer = _json(directory / "tokenizer.json", required=True)
    ids = {t["content"]: int(t["id"]) for t in tokenizer.get("added_tokens", [])}

    def find(*keys: str) -> int:
        for key in keys:
            token = names.get(key)
            content = token.get("content") if isinstance(token, dict) else token
            if content in ids:
                return ids[content]
        raise CheckpointError(f"{directory}: the tokenizer files name no {keys[0]} that tokenizer.json knows")

    return SpecialTokens(
        bos=find("cls_token", "bos_token"),
        eos=find("eos_token", "sep_token"),
        pad=find("pad_token"),
        unk=find("unk_token"),
    )


def _json(path: Path, required: bool = False) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise CheckpointError(
                f"{path} is missing; expected a checkpoint directory in Hugging Face's layout"
            ) from None
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds a {type(raw).__name__}, expected an object")
    return raw
