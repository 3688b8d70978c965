"""The settings of a checkpoint in Sentence Transformers' files: modules, pooling, prompts, lower case.

A setting that changes the vectors is either followed or refused.
Source: sentence_transformers' SentenceTransformer, Transformer and Pooling, `load`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3rt.bundle.fields import Pooling
from m3rt.errors import CheckpointError

from . import layout
from .json_file import Fields, read_fields, read_json

_ORDERS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_SUPPORTED = "Transformer, Pooling, Normalize in this order"
# Values that do not change the vectors: defaults, and ways to compute the same numbers.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    "backend": ("torch",),
    "unpad_inputs": (True, False),
}
_ARGUMENTS = {"model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"}
_HARMLESS_ARGUMENTS = {"torch_dtype", "dtype", "attn_implementation", "add_pooling_layer", "trust_remote_code"}
_MODES: dict[str, Pooling | None] = {
    "cls_token": "cls", "mean_tokens": "mean", "max_tokens": None, "mean_sqrt_len_tokens": None,
    "weightedmean_tokens": None, "lasttoken": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Modules:
    """The encoder's folder inside the checkpoint, the pooling's config, and whether modules.json lists them."""

    folder: str = ""
    pooling: str = layout.POOLING_FOLDER
    listed: bool = False
    normalized: bool = True


def read_modules(directory: Path) -> Modules:
    """Read modules.json. A checkpoint without it is FlagEmbedding's, which normalises."""
    path = directory / layout.MODULES
    if not path.exists() and not path.is_symlink():
        return Modules()
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError(f"{path} holds no list of modules, expected {_SUPPORTED}; fetch it again")
    modules = [Fields(path, entry) for entry in entries]
    names = [_kind(module) for module in modules]
    if names not in _ORDERS:
        raise CheckpointError(f"{path} lists {', '.join(names) or 'no module':.100}, expected {_SUPPORTED}")
    if len({str(module.raw.get("name")) for module in modules}) < len(modules):
        raise CheckpointError(f"{path}: two modules have the same name, so that the last replaces the first")
    folder, pooling = (_folder(module) for module in modules[:2])
    return Modules(folder, pooling, True, "Normalize" in names)


def _kind(module: Fields) -> str:
    module.refuse_others({"idx", "name", "path", "type"})
    package, _, name = module.text("type").rpartition(".")
    if package.partition(".")[0] != "sentence_transformers" or not name.isidentifier():
        module.fail("type", f"a module of sentence_transformers: {_SUPPORTED}; code of others is never run")
    if name not in _ORDERS[-1]:
        raise CheckpointError(f"{module.path}: the module {name:.60} is not supported, expected {_SUPPORTED}")
    return name


def _folder(module: Fields) -> str:
    name = module.text("path")
    if name and (not re.fullmatch(r"[\w.-]{1,100}", name) or name in (".", "..")):
        module.fail("path", "the name of a folder of the checkpoint")
    return name


def read_pooling(directory: Path, modules: Modules, hidden: int) -> tuple[Pooling, bool]:
    """Read how tokens become one vector, and whether the prompt's tokens take part."""
    path = directory / modules.pooling / layout.CONFIG
    fields = read_fields(path, required=modules.listed)
    if not modules.listed and not path.exists():
        return "cls", True  # FlagEmbedding's default
    known = {f"pooling_mode_{name}" for name in _MODES}
    sizes = ("word_embedding_dimension", "embedding_dimension")
    fields.refuse_others({*known, *sizes, "pooling_mode", "include_prompt"})
    if (size := fields.number(*sizes, default=hidden)) != hidden:
        raise CheckpointError(f"{path}: pooling is of {size} numbers, expected hidden_size {hidden}")
    chosen = _chosen(fields)
    if len(chosen) != 1 or _MODES.get(chosen[0]) is None:
        raise CheckpointError(f"{path}: pooling is {' + '.join(chosen) or 'unset':.100}, expected cls or mean")
    mode = _MODES[chosen[0]]
    assert mode is not None
    return mode, fields.flag("include_prompt", True)


def _chosen(fields: Fields) -> list[str]:
    """The modes that are on, as Pooling reads them: mean is the default."""
    named = fields.raw.get("pooling_mode")  # the newer spelling: one name, or a list of names
    if named is not None:
        names = named if isinstance(named, list) else [named]
        long = {name.removesuffix("_tokens").removesuffix("_token"): name for name in _MODES}
        long["mean_sqrt_len_tokens"] = "mean_sqrt_len_tokens"
        return [long.get(str(name).lower(), f"{name!r:.40}") for name in names]
    if not fields.raw:
        return []
    default = "mean_tokens" if "pooling_mode_mean_tokens" not in fields.raw else None
    return [name for name in _MODES if fields.flag(f"pooling_mode_{name}", name == default)]


def read_settings(folder: Path, harmless: Mapping[str, tuple[Any, ...]] = _HARMLESS) -> tuple[int | None, bool]:
    """Read the longest text in tokens, None for no limit, and whether texts are lower-cased first."""
    names = [name for name in layout.SETTINGS if (folder / name).exists()]
    fields = read_fields(folder / (names or layout.SETTINGS)[0])
    for key in _ARGUMENTS:
        fields.object(key).refuse_others(_HARMLESS_ARGUMENTS)
    for key, values in harmless.items():
        if fields.raw.get(key) is not None and fields.raw[key] not in values:
            fields.fail(key, f"{values[0]!r}; others are not supported")
    fields.refuse_others({"max_seq_length", "do_lower_case", *harmless, *_ARGUMENTS})
    limit = None if fields.raw.get("max_seq_length") is None else fields.number("max_seq_length")
    return limit, fields.flag("do_lower_case")


def read_prompts(directory: Path, normalized: bool) -> dict[str, str]:
    """Read the prompts before queries and before passages; "" for none."""
    fields = read_fields(directory / layout.PROMPTS)
    known = {"__version__", "prompts", "default_prompt_name", "similarity_fn_name", "model_type"}
    fields.refuse_others(known)
    if fields.text("model_type") not in ("", "SentenceTransformer"):
        fields.fail("model_type", "SentenceTransformer")
    # m3rt normalises vectors: the order of dot products and distances stays only if the checkpoint does so too.
    allowed = ("", "cosine", "dot", "euclidean") if normalized else ("", "cosine")
    if fields.text("similarity_fn_name") not in allowed:
        fields.fail("similarity_fn_name", "cosine, which vectors of length 1 are compared by")
    prompts = fields.object("prompts")
    texts = {role: prompts.text(role) for role in prompts.raw}
    if texts.get(fields.text("default_prompt_name")):
        fields.fail("default_prompt_name", "null: m3rt puts prompts before queries and passages, not before every text")
    roles = ("document", "passage", "corpus")
    return {"query": texts.get("query", ""), "passage": next((texts[r] for r in roles if r in texts), "")}
