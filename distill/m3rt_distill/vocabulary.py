"""A smaller vocabulary: XLM-R's pieces that matter for the training languages, and the tokenizer that is left."""

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

TOKENIZER = "tokenizer.json"
_SPECIAL = 4  # XLM-R starts with <s> <pad> </s> <unk>
_SPACE = "▁"
_BEFORE_WORDS = (
    "_([{\"'/=-<>*#@’“‘«.:"  # what follows one starts a word: is_iterable matches "iterable", dell'arte "arte"
)
_SENTENCES = 3  # by trial: 3 to 6 find the most
_SEEN = 100  # characters of a script in the training texts, from which on it counts as covered


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A pruned tokenizer.json and the rows of the teacher's table that it keeps.

    kept: (size,) int64 old ids in the order of the new ones. rarity: (size,) float32, how much a piece tells: its
    inverse document frequency in the language where it is most common, in nats; 0 for special tokens.
    """

    tokenizer: dict[str, Any]
    kept: NDArray[np.int64]
    rarity: NDArray[np.float32]

    def load(self) -> Tokenizer:
        """The tokenizer, ready to encode."""
        return Tokenizer.from_str(json.dumps(self.tokenizer))

    def save(self, directory: Path) -> None:
        """Write tokenizer.json and vocabulary.npz."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / TOKENIZER).write_text(json.dumps(self.tokenizer, ensure_ascii=False), encoding="utf-8")
        np.savez(directory / "vocabulary.npz", kept=self.kept, rarity=self.rarity)

    @classmethod
    def read(cls, directory: Path) -> Vocabulary:
        """What save() wrote."""
        arrays = np.load(directory / "vocabulary.npz")
        return cls(json.loads((directory / TOKENIZER).read_text("utf-8")), arrays["kept"], arrays["rarity"])

    @classmethod
    def whole(cls, tokenizer: dict[str, Any]) -> Vocabulary:
        """A tokenizer as it is, every piece alike in rarity."""
        size = len(tokenizer["model"]["vocab"])
        return cls(tokenizer, np.arange(size), np.ones(size, np.float32))


def read_tokenizer(path: Path) -> dict[str, Any]:
    """A tokenizer.json; CheckpointError says what is wrong with it."""
    try:
        tokenizer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; expected a tokenizer.json") from None
    return tokenizer


def prune(tokenizer: dict[str, Any], texts: Iterable[tuple[str, str]], size: int) -> Vocabulary:
    """Keep the `size` most useful pieces of an XLM-R tokenizer for texts given as (text, language).

    A piece's use is the mean of its share of the texts, every language counting alike, and of its share of the web,
    which its unigram score tells; pieces of scripts that the texts do not use are left out. The texts' own characters
    come first, so that nothing in them turns into <unk>. The tokenizer that is left ignores case and starts a word
    after brackets, quotes and the like, so that words match wherever they stand. Raises CheckpointError for another
    kind of tokenizer.
    """
    vocab = _pieces(tokenizer)
    tokenizer = {**tokenizer, "normalizer": _normalizer(tokenizer.get("normalizer"))}
    if not _SPECIAL + 1 < size <= len(vocab):
        raise InputError(f"the vocabulary is to have {size} pieces, expected {_SPECIAL + 2}..{len(vocab)}")
    by_lang: dict[str, list[str]] = {}
    for text, lang in texts:
        by_lang.setdefault(lang, []).append(text)
    encoder = Tokenizer.from_str(json.dumps(tokenizer))
    share = sum(_shares(encoder, group, len(vocab)) for group in by_lang.values()) / max(1, len(by_lang))
    web = np.exp(np.array([score for _, score in vocab]))
    web[[0, 1, 2, 3, -1]] = 0
    use = share + web / web.sum()
    seen = Counter(_SPACE)
    for group in by_lang.values():
        seen.update(c for text in group for c in text.lower())
    scripts = _scripts(seen)
    for i, (piece, _) in enumerate(vocab):
        if piece != piece.lower() or not all(_script(c) in scripts for c in piece):
            use[i] = 0
        elif len(piece) == 1:  # without its characters a word cannot be spelled at all
            use[i] += 1 if piece in seen else 20 * use[i]
    use[:_SPECIAL] = use[-1] = np.inf  # <mask> stays last, as in XLM-R
    kept = np.sort(np.argsort(-use, kind="stable")[:size])
    small = _renumbered(tokenizer, [vocab[i] for i in kept])
    return Vocabulary(small, kept, _rarity(Tokenizer.from_str(json.dumps(small)), by_lang, size))


def _pieces(tokenizer: dict[str, Any]) -> list[tuple[str, float]]:
    model = tokenizer.get("model", {})
    pieces = [tuple(row) for row in model.get("vocab", ())] if model.get("type") == "Unigram" else []
    if [piece for piece, _ in pieces[:_SPECIAL]] != ["<s>", "<pad>", "</s>", "<unk>"]:
        raise CheckpointError(
            "the tokenizer is not XLM-R's, expected a Unigram model that starts with <s> <pad> </s> <unk>"
        )
    return pieces


def _normalizer(first: dict[str, Any] | None) -> dict[str, Any]:
    steps = [] if first is None else first.get("normalizers", [first])
    apart = [{"type": "Replace", "pattern": {"String": sign}, "content": f"{sign} "} for sign in _BEFORE_WORDS]
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    return {"type": "Sequence", "normalizers": [*apart, *steps, {"type": "Lowercase"}, strip]}


def _renumbered(tokenizer: dict[str, Any], vocab: list[tuple[str, float]]) -> dict[str, Any]:
    ids = {piece: i for i, (piece, _) in enumerate(vocab)}
    added = [{**token, "id": ids[token["content"]]} for token in tokenizer["added_tokens"]]
    model = {**tokenizer["model"], "vocab": [list(row) for row in vocab]}
    return {**tokenizer, "added_tokens": added, "model": model, "truncation": None, "padding": None}


def _shares(encoder: Tokenizer, texts: list[str], size: int) -> NDArray[np.float64]:
    counts = np.zeros(size)
    for encoding in encoder.encode_batch_fast(texts, add_special_tokens=False):
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
    return {"", *(script for script, n in counts.items() if n >= _SEEN)}


def _rarity(encoder: Tokenizer, by_lang: dict[str, list[str]], size: int) -> NDArray[np.float32]:
    """-log of the share of passages that have a piece, in the language where it is most common.

    The texts are sentences: a passage is taken for _SENTENCES of them. 1 text in 10,000 at least.
    """
    common = np.full(size, 1e-4)
    for texts in by_lang.values():
        found = np.zeros(size)
        for encoding in encoder.encode_batch_fast(texts, add_special_tokens=False):
            found[list(set(encoding.ids))] += 1
        # A language of few texts says little: as if 2,000 others had none of its pieces.
        common = np.maximum(common, found / (len(texts) + 2000))
    rarity = -np.log(1 - (1 - common.clip(max=0.9)) ** _SENTENCES)
    rarity[:_SPECIAL] = rarity[-1] = 0
    return np.asarray(rarity, np.float32)
