"""A smaller vocabulary: the XLM-R pieces that the training languages need, their tokenizer and their rarity."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from m3rt.errors import CheckpointError, InputError

from ..constants import VOCABULARY

TOKENIZER = "tokenizer.json"
_SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]  # ids 0 to 3 of XLM-R
_SPECIAL_COUNT = len(_SPECIAL_TOKENS)
_SPACE = "▁"
# A word starts after each of these: "iterable" matches is_iterable, "arte" matches dell'arte.
_SIGNS_BEFORE_WORDS = "_([{\"'/=-<>*#@’“‘«.:"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A pruned tokenizer.json, and the ids of its pieces in the teacher's vocabulary.

    kept: (size,) int64 old ids in the order of the new ones. rarity: (size,) float32, the inverse document frequency of
    a piece in the language where it is most common, in nats; 0 for special tokens.
    """

    tokenizer_json: dict[str, Any]
    kept: NDArray[np.int64]
    rarity: NDArray[np.float32]

    def load(self) -> Tokenizer:
        """Return the tokenizer, ready to encode."""
        return Tokenizer.from_str(json.dumps(self.tokenizer_json))

    def save(self, directory: Path) -> None:
        """Write tokenizer.json and vocabulary.npz."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / TOKENIZER).write_text(json.dumps(self.tokenizer_json, ensure_ascii=False), encoding="utf-8")
        np.savez(directory / "vocabulary.npz", kept=self.kept, rarity=self.rarity)

    @classmethod
    def read(cls, directory: Path) -> Vocabulary:
        """Read the files of save()."""
        arrays = np.load(directory / "vocabulary.npz")
        return cls(json.loads((directory / TOKENIZER).read_text("utf-8")), arrays["kept"], arrays["rarity"])

    @classmethod
    def whole(cls, tokenizer_json: dict[str, Any]) -> Vocabulary:
        """Take all pieces of a tokenizer, with the same rarity for each."""
        size = len(tokenizer_json["model"]["vocab"])
        return cls(tokenizer_json, np.arange(size), np.ones(size, np.float32))


def read_tokenizer(path: Path) -> dict[str, Any]:
    """Read a tokenizer.json; CheckpointError says why it cannot be read."""
    try:
        tokenizer_json: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; expected a tokenizer.json") from None
    return tokenizer_json


def prune(tokenizer_json: dict[str, Any], texts: Iterable[tuple[str, str]], size: int) -> Vocabulary:
    """Keep the `size` most useful pieces of an XLM-R tokenizer for texts given as (text, language).

    The pruned tokenizer ignores case and starts a word after brackets, quotes and the like, so that words match
    wherever they stand. Raises CheckpointError for another kind of tokenizer.
    """
    vocab = _pieces(tokenizer_json)
    tokenizer_json = {**tokenizer_json, "normalizer": _normalizer(tokenizer_json.get("normalizer"))}
    if not _SPECIAL_COUNT + 1 < size <= len(vocab):
        raise InputError(f"the vocabulary is to have {size} pieces, expected {_SPECIAL_COUNT + 2}..{len(vocab)}")
    by_lang: dict[str, list[str]] = {}
    for text, lang in texts:
        by_lang.setdefault(lang, []).append(text)
    use = _use(Tokenizer.from_str(json.dumps(tokenizer_json)), vocab, by_lang)
    kept = np.sort(np.argsort(-use, kind="stable")[:size])
    small = _renumbered(tokenizer_json, [vocab[i] for i in kept])
    return Vocabulary(small, kept, _rarity(Tokenizer.from_str(json.dumps(small)), by_lang, size))


def _use(tokenizer: Tokenizer, vocab: list[tuple[str, float]], by_lang: dict[str, list[str]]) -> NDArray[np.float64]:
    """Return (vocab,): how useful each piece is for texts by language.

    It is the sum of the piece's share of the texts, where every language counts alike, and of its share of the web, of
    which its unigram score is the log. The texts' characters come first, so that none of them turns into <unk>. Pieces
    in scripts that the texts do not use are useless.
    """
    share = sum(_shares(tokenizer, texts, len(vocab)) for texts in by_lang.values()) / max(1, len(by_lang))
    web = np.exp(np.array([score for _, score in vocab]))
    web[[*range(_SPECIAL_COUNT), -1]] = 0
    use = np.asarray(share + web / web.sum())
    seen = Counter(_SPACE)
    for group in by_lang.values():
        seen.update(c for text in group for c in text.lower())
    scripts = _scripts(seen)
    for i, (piece, _) in enumerate(vocab):
        if piece != piece.lower() or not all(_script(c) in scripts for c in piece):
            use[i] = 0
        elif len(piece) == 1:
            use[i] += 1 if piece in seen else VOCABULARY.unseen_character_factor * use[i]
    use[:_SPECIAL_COUNT] = use[-1] = np.inf  # <mask> stays last, as in XLM-R
    return use


def _pieces(tokenizer_json: dict[str, Any]) -> list[tuple[str, float]]:
    model = tokenizer_json.get("model", {})
    pieces = [tuple(row) for row in model.get("vocab", ())] if model.get("type") == "Unigram" else []
    if [piece for piece, _ in pieces[:_SPECIAL_COUNT]] != _SPECIAL_TOKENS:
        raise CheckpointError(
            "the tokenizer is not XLM-R's, expected a Unigram model that starts with <s> <pad> </s> <unk>"
        )
    return pieces


def _normalizer(first: dict[str, Any] | None) -> dict[str, Any]:
    steps = [] if first is None else first.get("normalizers", [first])
    apart = [{"type": "Replace", "pattern": {"String": sign}, "content": f"{sign} "} for sign in _SIGNS_BEFORE_WORDS]
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    return {"type": "Sequence", "normalizers": [*apart, *steps, {"type": "Lowercase"}, strip]}


def _renumbered(tokenizer_json: dict[str, Any], vocab: list[tuple[str, float]]) -> dict[str, Any]:
    ids = {piece: i for i, (piece, _) in enumerate(vocab)}
    added = [{**token, "id": ids[token["content"]]} for token in tokenizer_json["added_tokens"]]
    model = {**tokenizer_json["model"], "vocab": [list(row) for row in vocab]}
    return {**tokenizer_json, "added_tokens": added, "model": model, "truncation": None, "padding": None}


def _shares(tokenizer: Tokenizer, texts: list[str], size: int) -> NDArray[np.float64]:
    """Return (size,): the share of all pieces in the texts that each piece has."""
    counts = np.zeros(size)
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        np.add.at(counts, encoding.ids, 1)
    return np.asarray(counts / max(1.0, counts.sum()))


def _script(char: str) -> str:
    if not char.isalpha():
        return ""  # digits, signs and spaces belong to every script
    return unicodedata.name(char, "UNKNOWN").split()[0]


def _scripts(seen: Counter[str]) -> set[str]:
    counts: Counter[str] = Counter()
    for char, n in seen.items():
        counts[_script(char)] += n
    return {"", *(script for script, n in counts.items() if n >= VOCABULARY.min_script_characters)}


def _rarity(tokenizer: Tokenizer, by_lang: dict[str, list[str]], size: int) -> NDArray[np.float32]:
    """Return (size,): -log of the share of passages that have a piece, in the language where it is most common.

    The texts are sentences, so the share of passages is the chance that one of several texts has the piece.
    """
    common = np.full(size, VOCABULARY.min_text_share)
    for texts in by_lang.values():
        count = np.zeros(size)
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            count[list(set(encoding.ids))] += 1
        common = np.maximum(common, count / (len(texts) + VOCABULARY.smoothing_texts))
    rarity = -np.log(1 - (1 - common.clip(max=VOCABULARY.max_text_share)) ** VOCABULARY.passage_sentences)
    rarity[:_SPECIAL_COUNT] = rarity[-1] = 0
    return np.asarray(rarity, np.float32)
