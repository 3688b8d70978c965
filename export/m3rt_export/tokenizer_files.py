"""A bundle's tokenizer files: tokenizer.json, and for a Unigram vocabulary the fast files that need no parsing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
from tokenizers import Tokenizer as FastTokenizer

from m3rt.bundle.fields import Pruned
from m3rt.bundle.manifest import ORIGINAL_IDS, TOKENIZER
from m3rt.bundle.renumbering import DTYPE
from m3rt.errors import CheckpointError
from m3rt.text.tokenizer import Tokenizer
from m3rt.text.unigram import FOLDER, IDS, LONGEST_PIECE, PIPELINE, SCORES, TRIE, Unigram

from .checkpoint import layout
from .checkpoint.config import Config
from .checkpoint.json_file import understood
from .checkpoint.panics import one_line
from .checkpoint.tokenizer_json import read_tokenizer
from .pruning import Ids, Wish, described, kept_ids, renumbered
from .texts import GOLDEN_TEXTS, calibration_texts

_MODEL_KEYS = {"type", "unk_id", "vocab", "byte_fallback"}  # any other key may change the ids in an unknown way
_UNKNOWN_CHARACTER = "\U0010fffd"  # no vocabulary has it


def write_tokenizer(source: Path, directory: Path, config: Config) -> None:
    """Write tokenizer.json without its indentation, which is half of XLM-R's file, and the files of m3rt.text.unigram.

    source: the checkpoint's folder. Raises CheckpointError if the tokenizer cannot be used, or has ids that the model
    lacks.
    """
    path = source / config.modules.folder / layout.TOKENIZER
    with understood(path):
        tokenizer = read_tokenizer(config.tokenizer)
    _write(path, directory, tokenizer, config)


def chosen_pieces(directory: Path, config: Config, wish: Wish) -> Ids:
    """The ids that a wish keeps of the vocabulary in `directory`.

    Raises CheckpointError for a vocabulary other than XLM-R's kind, InputError for texts without words.
    """
    tokenizer = json.loads((directory / TOKENIZER).read_bytes())
    if tokenizer["model"].get("type") != "Unigram" or not _is_plain(tokenizer):
        path = config.tokenizer.path / layout.TOKENIZER
        raise CheckpointError(f"{path} cannot be pruned, expected a Unigram vocabulary such as XLM-R's; keep it whole")
    special = config.special_tokens
    return kept_ids(tokenizer, special, config.prompts.values(), wish, Tokenizer(directory / TOKENIZER, special))


def prune_tokenizer(directory: Path, config: Config, kept: Ids, wish: Wish) -> Pruned:
    """Write the tokenizer's files again with the kept pieces alone, and ORIGINAL_IDS beside them."""
    tokenizer = json.loads((directory / TOKENIZER).read_bytes())
    shutil.rmtree(directory / FOLDER, ignore_errors=True)
    _write(config.tokenizer.path / layout.TOKENIZER, directory, renumbered(tokenizer, kept), config)
    (directory / ORIGINAL_IDS).write_bytes(kept.astype(DTYPE).tobytes())
    return described(tokenizer["model"]["vocab"], kept, wish)


def _write(path: Path, directory: Path, tokenizer: dict[str, Any], config: Config) -> None:
    """Write the files of the checkpoint's tokenizer, which was read from `path`."""
    with understood(path):
        data = _json(tokenizer)
    (directory / TOKENIZER).write_bytes(data)
    with one_line(path):
        fast = FastTokenizer.from_buffer(data)
        fast.no_truncation()
        fast.no_padding()
        texts = [*calibration_texts(), *GOLDEN_TEXTS, _UNKNOWN_CHARACTER]
        expected = [fast.encode(text).ids for text in texts]  # one by one, so that the first failure ends it
        ids = {token["content"]: fast.token_to_id(token["content"]) for token in tokenizer.get("added_tokens") or ()}
    with understood(path):
        _check_ids(path, tokenizer, ids, config)
        plain = tokenizer["model"].get("type") == "Unigram" and _is_plain(tokenizer)
    if plain:
        with one_line(path):
            _write_unigram(directory, tokenizer)
            # Safety net: if ids differ for any calibration text, ship without the fast files.
            if Unigram(directory, (directory / TRIE).read_bytes()).ids(texts) != expected:
                shutil.rmtree(directory / FOLDER)


def _check_ids(path: Path, tokenizer: dict[str, Any], ids: dict[str, int | None], config: Config) -> None:
    """Raise CheckpointError if an id has no row in the model, or `ids`, the library's for added tokens, differ."""
    vocab = tokenizer["model"].get("vocab") or ()
    pieces = vocab.values() if isinstance(vocab, dict) else [len(vocab) - 1]
    largest = max([*pieces, *(i for i in ids.values() if i is not None)], default=0)
    if largest >= config.architecture.vocab_size:
        raise CheckpointError(
            f"{path} has ids up to {largest}, expected below vocab_size {config.architecture.vocab_size}; "
            "the files are of different models"
        )
    roles = set(config.tokenizer.roles.values())
    expected = {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or ()}
    for content in [*(token["content"] for token in config.tokenizer.added), *(roles & expected.keys())]:
        if ids[content] != expected[content]:
            raise CheckpointError(
                f"{path}: the added token {content!r:.60} has id {expected[content]!r:.20}, expected {ids[content]} as "
                "the tokenizers library counts; save the tokenizer again with transformers"
            )


def _is_plain(tokenizer: dict[str, Any]) -> bool:
    """Whether m3rt.text.unigram can give the same ids as Hugging Face's tokenizers."""
    model = tokenizer["model"]
    if model.get("byte_fallback") or {key for key in model if model[key]} - _MODEL_KEYS:
        return False
    pieces = {piece: i for i, (piece, _) in enumerate(model["vocab"])}
    added = {token["content"]: token for token in tokenizer.get("added_tokens") or ()}
    unknown = model.get("unk_id")
    return (
        unknown is not None
        and len(pieces) == len(model["vocab"])
        and all(0 < len(piece) <= LONGEST_PIECE for piece in pieces)
        # With these scores no run of unknown characters outscores a piece, and <unk> itself is never split.
        and all(score <= 0 for _, score in model["vocab"])
        and model["vocab"][unknown][1] == 0
        and len(added) == len(tokenizer.get("added_tokens") or ())
        and all(pieces.get(content) == token["id"] for content, token in added.items())
        and not any(t["id"] == unknown and (t["lstrip"] or t["rstrip"]) for t in added.values())
        and _surrounds(tokenizer.get("post_processor") or {})
    )


def _surrounds(processor: dict[str, Any]) -> bool:
    """Whether the template is one special token, the text, one special token."""
    template = processor.get("single") or ()
    special = processor.get("special_tokens") or {}
    return (
        processor.get("type") == "TemplateProcessing"
        and [next(iter(part)) for part in template] == ["SpecialToken", "Sequence", "SpecialToken"]
        and all(len(special[part["SpecialToken"]["id"]]["ids"]) == 1 for part in template[::2])
    )


def _write_unigram(directory: Path, tokenizer: dict[str, Any]) -> None:
    model = tokenizer["model"]
    vocab = model["vocab"]
    (directory / FOLDER).mkdir()
    trie = marisa_trie.Trie([piece for piece, _ in vocab])
    trie.save(str(directory / TRIE))
    keys = [trie[piece] for piece, _ in vocab]
    ids, scores = np.empty(len(vocab), "<i4"), np.empty(len(vocab), "<f8")
    ids[keys] = np.arange(len(vocab))
    scores[keys] = [score for _, score in vocab]
    np.save(directory / IDS, ids)
    np.save(directory / SCORES, scores)
    words = {"type": "Unigram", "unk_id": 0, "vocab": [[vocab[model["unk_id"]][0], 0.0]], "byte_fallback": False}
    pipeline = {**tokenizer, "truncation": None, "padding": None, "model": words}
    (directory / PIPELINE).write_bytes(_json(pipeline))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
