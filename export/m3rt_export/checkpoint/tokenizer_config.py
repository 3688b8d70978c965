"""The settings that change the ids of tokenizer.json, from the files beside it such as tokenizer_config.json.

Source: transformers 4.57, PreTrainedTokenizerBase._from_pretrained, PreTrainedTokenizerFast, BertTokenizerFast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from m3rt.errors import CheckpointError

from . import layout
from .json_file import Fields, read_fields

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_BERT_ROLES = {f"{role}_token": f"[{role.upper()}]" for role in ("cls", "sep", "pad", "unk", "mask")}
_ROBERTA_ROLES = {
    "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
    "pad_token": "<pad>", "mask_token": "<mask>",
}  # fmt: skip
# Kinds of tokenizers, by transformers' name without "TokenizerFast", and the special tokens that each has by default.
_KINDS = {
    **dict.fromkeys(("Bert", "DistilBert", "Electra", "MobileBert", "SqueezeBert", "ConvBert"), _BERT_ROLES),
    **dict.fromkeys(("XLMRoberta", "Roberta", "Camembert"), _ROBERTA_ROLES),
    "PreTrained": {},
    "TokenizersBackend": {},
}
_OF_MODEL = {"bert": "Bert", "xlm-roberta": "XLMRoberta", "roberta": "Roberta", "camembert": "Camembert"}
# BertTokenizerFast writes these settings, or their defaults, into BERT's normalizer.
_NORMALIZER = {
    "do_lower_case": "lowercase", "strip_accents": "strip_accents", "tokenize_chinese_chars": "handle_chinese_chars",
}  # fmt: skip
_LARGEST_LIMIT_TOKENS = 2**20  # tokenizers without a limit write 10**30


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """The settings beside a tokenizer.json that change its ids.

    named: token texts by role, from the files. roles: the same and the defaults of the kind of tokenizer. added: tokens
    to add, with their ids. decides: whether the flags of `added` replace tokenizer.json's. lowercase: whether Sentence
    Transformers lower-cases texts. limit: the longest text in tokens, None for no limit.
    """

    path: Path
    named: Mapping[str, str]
    roles: Mapping[str, str]
    added: Sequence[Mapping[str, Any]]
    decides: bool
    normalizer: Mapping[str, bool | None]
    add_prefix_space: bool
    lowercase: bool
    limit: int | None

    @classmethod
    def read(cls, folder: Path, model: Fields, *, lowercase: bool, strict: bool) -> Self:
        """Read the files of the encoder's folder; `strict` refuses kinds of tokenizers that are not known here."""
        fields = read_fields(folder / layout.TOKENIZER_CONFIG)
        kind = _kind(fields, model, strict)
        _refuse(fields)
        legacy = "added_tokens_decoder" not in fields.raw  # otherwise transformers reads no other file
        named = _roles(fields, read_fields(folder / layout.SPECIAL_TOKENS), legacy)
        added = _added(read_fields(folder / layout.ADDED_TOKENS), named) if legacy else _decoder(fields, named)
        return cls(
            path=folder,
            named=named,
            roles={**_KINDS.get(kind, {}), **named},
            added=added,
            decides=not legacy,
            normalizer=_normalizer(fields) if _KINDS.get(kind) is _BERT_ROLES else {},
            add_prefix_space=fields.flag("add_prefix_space"),
            lowercase=lowercase,
            limit=_limit(fields),
        )


def _kind(fields: Fields, model: Fields, strict: bool) -> str:
    name = fields.text("tokenizer_class") or model.text("tokenizer_class")
    kind = name.removesuffix("Fast").removesuffix("Tokenizer") or _OF_MODEL.get(model.text("model_type"), "PreTrained")
    if strict and kind not in _KINDS:
        fields.fail("tokenizer_class", f"one that tokenizer.json describes whole: {', '.join(_KINDS)}")
    return kind


def _refuse(fields: Fields) -> None:
    for key in ("padding_side", "truncation_side"):
        if fields.text(key) not in ("", "right"):
            fields.fail(key, "right")
    if fields.flag("split_special_tokens"):
        fields.fail("split_special_tokens", "false")
    if fields.raw.get("auto_map"):
        fields.fail("auto_map", "none: code of the checkpoint's own is never run")


def _limit(fields: Fields) -> int | None:
    value = fields.get("model_max_length", (int, float), "a whole number")
    if value is not None and value < 1:
        fields.fail("model_max_length", "a whole number above 0")
    return int(value) if value is not None and value < _LARGEST_LIMIT_TOKENS else None


def _normalizer(fields: Fields) -> dict[str, bool | None]:
    defaults = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
    values = {key: fields.get(key, (bool,), "true or false") for key in _NORMALIZER}
    return {_NORMALIZER[key]: defaults[key] if value is None else value for key, value in values.items()}


def _roles(fields: Fields, special: Fields, legacy: bool) -> dict[str, str]:
    """Read token texts by role; where both files name one, they must agree."""
    roles = {}
    for role in _ROLES:
        ours, theirs = (_content(source, role) for source in (fields, special))
        if ours and theirs and ours != theirs:
            raise CheckpointError(
                f"{special.path}: {role} is {theirs!r:.60} and {ours!r:.60} in {fields.path.name}, expected one token"
            )
        if content := ours or (theirs if legacy else ""):
            roles[role] = content
    for i, token in enumerate(_extra(fields) or (_extra(special) if legacy else [])):
        roles[f"additional_special_tokens {i}"] = token
    return roles


def _content(fields: Fields, role: str) -> str:
    token = fields.get(role, (str, dict), "a token")
    return fields.object(role).text("content") if isinstance(token, dict) else token or ""


def _extra(fields: Fields) -> list[str]:
    # extra_special_tokens is the newer name; its value may also be an object of tokens by their names.
    lists = [fields.get(f"{word}_special_tokens", (list, dict), "tokens") or [] for word in ("additional", "extra")]
    tokens = [t for entry in lists for t in (entry.values() if isinstance(entry, dict) else entry)]
    return [Fields(fields.path, t).text("content") if isinstance(t, dict) else str(t) for t in tokens]


def _decoder(fields: Fields, named: Mapping[str, str]) -> list[dict[str, Any]]:
    tokens = fields.object("added_tokens_decoder")
    added = []
    for key in tokens.raw:
        token = tokens.object(key)
        content, special = token.text("content"), token.flag("special")
        if not key.isdecimal() or len(key) > 9 or not content:
            fields.fail("added_tokens_decoder", "tokens by their ids")
        token.refuse_others({"content", "__type", *FLAGS})
        flags = {flag: token.flag(flag, flag == "normalized" and not special) for flag in FLAGS}
        added.append({"id": int(key), "content": content} | flags | {"special": special or content in named.values()})
    return added


def _added(fields: Fields, named: Mapping[str, str]) -> list[dict[str, Any]]:
    """Read added_tokens.json, which older checkpoints have: ids by text."""
    return [plain_token(fields.number(content, low=0), content, content in named.values()) for content in fields.raw]


def plain_token(i: int, content: str, special: bool) -> dict[str, Any]:
    """An added token as tokenizer.json writes it."""
    return {"id": i, "content": content} | dict.fromkeys(FLAGS, False) | {"normalized": not special, "special": special}
