"""The tokenizer's files of a bundle: tokenizer.json, and for a Unigram vocabulary the files that open at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np

from m3rt.errors import CheckpointError
from m3rt.manifest import TOKENIZER
from m3rt.unigram import FOLDER, IDS, LONGEST_PIECE, PIPELINE, SCORES, TRIE, Unigram, fast_tokenizer

from .config import Config
from .texts import calibration_texts

_MODEL_KEYS = {"type", "unk_id", "vocab", "byte_fallback"}  # any other would change the ids in a way unknown here


def write_tokenizer(source: Path, directory: Path, config: Config) -> None:
    """Write tokenizer.json without its indentation, which is half of XLM-R's file, and what m3rt.unigram reads.

    Raises CheckpointError when it is no tokenizer or has more ids than the model.
    """
    tokenizer = json.loads((source / TOKENIZER).read_text(encoding="utf-8"))
    try:
        vocab = tokenizer["model"].get("vocab") or ()
        largest = max([len(vocab) - 1, *(int(token["id"]) for token in tokenizer.get("added_tokens") or ())])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{source / TOKENIZER} is not a tokenizer file: {error!r}") from None
    if largest >= config.architecture.vocab_size:
        raise CheckpointError(
            f"{source / TOKENIZER} has ids up to {largest}, expected below vocab_size "
            f"{config.architecture.vocab_size}; the files are of different models"
        )
    _write_json(directory / TOKENIZER, tokenizer)
    if tokenizer["model"].get("type") != "Unigram":
        return
    fast, texts = fast_tokenizer(directory / TOKENIZER), calibration_texts()  # refuses what has another structure
    if _is_plain(tokenizer):
        _write_unigram(directory, tokenizer)
        # Whatever a tokenizer may hold that was not thought of here: then the bundle goes without.
        unigram = Unigram(directory, (directory / TRIE).read_bytes())
        if unigram.ids(texts) != [e.ids for e in fast.encode_batch_fast(texts)]:
            shutil.rmtree(directory / FOLDER)


def _is_plain(tokenizer: dict[str, Any]) -> bool:
    """Whether m3rt.unigram gives the same ids as Hugging Face's tokenizers."""
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
        # Then no run of unknown characters outscores a piece, and <unk> itself is never split.
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
    _write_json(directory / PIPELINE, {**tokenizer, "truncation": None, "padding": None, "model": words})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
