"""tokenizer.json as transformers and Sentence Transformers use it, with the settings beside it applied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from m3rt.bundle.fields import SpecialTokens
from m3rt.errors import CheckpointError

from . import layout
from .json_file import read_fields
from .tokenizer_config import TokenizerConfig, plain_token


def read_tokenizer(config: TokenizerConfig) -> dict[str, Any]:
    """Read the tokenizer.json of the encoder's folder and apply the settings. Raises CheckpointError."""
    path = config.path / layout.TOKENIZER
    if not path.exists():
        _fail_without(config.path)
    tokenizer = dict(read_fields(path, required=True).raw)
    for key in ("truncation", "padding"):
        if (tokenizer.get(key) or {}).get("direction", "Right") != "Right":
            raise CheckpointError(f"{path}: {key} is on the left, expected on the right")
    tokens = {token["content"]: token for token in tokenizer.get("added_tokens") or ()}
    changed = _with_added(tokens, _vocabulary(tokenizer), config)
    if changed != tokens:
        tokenizer["added_tokens"] = sorted(changed.values(), key=lambda token: int(token["id"]))
    tokenizer["normalizer"] = _normalizer(tokenizer.get("normalizer"), config)
    splits = tokenizer.get("pre_tokenizer")
    if splits and splits.get("type") == "ByteLevel":
        tokenizer["pre_tokenizer"] = {**splits, "add_prefix_space": config.add_prefix_space}
    return tokenizer


def special_tokens(tokenizer: Mapping[str, Any], config: TokenizerConfig) -> SpecialTokens:
    """Look up the ids of the tokens that have a role."""
    ids = {token["content"]: int(token["id"]) for token in tokenizer.get("added_tokens") or ()}

    def find(*roles: str) -> int:
        for role in roles:
            if config.roles.get(role) in ids:
                return ids[config.roles[role]]
        raise CheckpointError(f"{config.path}: the tokenizer files name no {roles[0]} that tokenizer.json knows")

    return SpecialTokens(
        bos=find("cls_token", "bos_token"),
        eos=find("eos_token", "sep_token"),
        pad=find("pad_token"),
        unk=find("unk_token"),
    )


def _fail_without(folder: Path) -> NoReturn:
    slow = [name for name in layout.SLOW_TOKENIZERS if (folder / name).exists()]
    if not slow:
        raise CheckpointError(f"{folder} has no tokenizer.json, expected a fast tokenizer; fetch the whole checkpoint")
    raise CheckpointError(
        f"{folder} has no tokenizer.json but only {' and '.join(slow)}; make it with transformers: "
        f"AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
    )


def _vocabulary(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    vocab = tokenizer["model"].get("vocab") or {}
    return vocab if isinstance(vocab, dict) else {piece: i for i, (piece, _) in enumerate(vocab)}


def _with_added(
    tokens: Mapping[str, dict[str, Any]], vocabulary: Mapping[str, int], config: TokenizerConfig
) -> dict[str, dict[str, Any]]:
    """The added tokens of tokenizer.json together with the tokens that transformers adds, by text."""
    result = dict(tokens)
    for token in config.added:
        content = token["content"]
        known = tokens[content]["id"] if content in tokens else vocabulary.get(content, token["id"])
        if known != token["id"]:
            raise CheckpointError(
                f"{config.path}: the added token {content!r:.60} has id {token['id']}, expected {known} as in "
                "tokenizer.json; the files are of different models"
            )
        if config.decides or content not in tokens:
            result[content] = dict(token)
    for role, content in config.roles.items():
        if content in result:
            continue
        if content in vocabulary:
            result[content] = plain_token(vocabulary[content], content, special=True)
        elif role in config.named:
            raise CheckpointError(
                f"{config.path}: the tokenizer files name no {role} that tokenizer.json knows, {content!r:.60} is none "
                "of its tokens"
            )
    return result


def _normalizer(normalizer: Any, config: TokenizerConfig) -> Any:
    if config.normalizer and not normalizer:
        raise CheckpointError(
            f"{config.path / layout.TOKENIZER} has no normalizer, expected BertNormalizer as tokenizer_class says; "
            "save the tokenizer again with transformers"
        )
    if config.normalizer and normalizer["type"] == "BertNormalizer":
        normalizer = {**normalizer, **config.normalizer}
    if not config.lowercase or _lowers(normalizer):
        return normalizer
    # Sentence Transformers puts Lowercase first too. It differs from str.lower(), which knows the final sigma.
    others = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer]
    return {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *filter(None, others)]}


def _lowers(normalizer: Any) -> bool:
    kinds = [normalizer, *(normalizer.get("normalizers") or ())] if normalizer else []
    return any(kind["type"] == "Lowercase" for kind in kinds)
