"""Made-up texts: single words of the teacher's vocabulary, and sentences some of whose words give way to others.

The training texts lack most of the words that a user may ask for. What the teacher says of a text with such a word
tells the student what the word means, without a real text that uses it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .data import Corpus
from .teacher import Teacher

WORDS, SUBSTITUTED = "words", "substituted"  # what the made-up texts have for a data set
_SPACE = "▁"
_SHARE = (0.2, 1.0)  # of a sentence's words that are replaced
_LETTERS, _LETTERS_UNSPACED = 3, 2  # of a word, with spaces between words and without
_UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI"}
_CHARACTERS = (20, 240)  # of a sentence to make another of
_SEEN = 3  # times that a word is in the texts, from which on they tell its language
_WRITTEN = 0.02  # of a language's words are of a script that it is written in
_BLOCK = 10_000  # texts tokenised at once


@dataclass(frozen=True, slots=True)
class Words:
    """The whole words of a teacher's XLM-R vocabulary: pieces after a space, or of a script that has none.

    pieces (vocab,): their texts. scripts (vocab,): of each as unicodedata names it, "" for what is no word. groups: the
    ids of the words of a language and script.
    """

    pieces: list[str]
    scripts: list[str]
    groups: dict[tuple[str, str], NDArray[np.int64]]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every word in small letters, with its language."""
        for (lang, _), ids in sorted(self.groups.items()):
            yield from ((self.pieces[i].removeprefix(_SPACE).lower(), lang) for i in ids)

    def replaced(self, ids: Sequence[int], lang: str, random: np.random.Generator) -> str:
        """The text of a sentence's piece ids, some of whose whole words are now others of language and script."""
        share = random.uniform(*_SHARE)
        written = []
        for place, i in enumerate(ids):
            script = self.scripts[i]
            whole = script in _UNSPACED or place + 1 == len(ids) or not self.pieces[ids[place + 1]][0].isalpha()
            others = self.groups.get((lang, script)) if script and whole else None
            if others is not None and random.random() < share:
                i = int(others[random.integers(len(others))])
            written.append(self.pieces[i])
        return "".join(written).replace(_SPACE, " ").strip()


def find_words(corpus: Corpus, teacher: Teacher) -> Words:
    """The words of the teacher's vocabulary that belong to the corpus's languages.

    A word is of the language whose texts use it most; one that no text uses, of the language, among those with the same
    script, whose words' mean vector is nearest to the teacher's of it.
    """
    pieces = [piece for piece, _ in teacher.tokenizer["model"]["vocab"]]
    script = np.array([_script_of(piece) for piece in pieces])
    langs = sorted(set(corpus.langs))
    encoder = _encoder(teacher)
    counts = np.array([_counts(corpus, lang, encoder) for lang in langs])
    counts[:, script == ""] = 0
    use = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = np.flatnonzero(script != "")
    vectors = teacher.vectors([pieces[i].removeprefix(_SPACE).lower() for i in words])
    known = counts[:, words].sum(axis=0) >= _SEEN
    home = use[:, words].argmax(axis=0)
    distance = np.full((len(words), len(langs)), np.inf)
    for row in range(len(langs)):
        own = known & (home == row)
        written = [s for s in set(script[words]) if use[row, script == s].sum() >= _WRITTEN]
        if own.any():
            found = np.isin(script[words], written)
            distance[found, row] = np.linalg.norm(vectors[found] - vectors[own].mean(axis=0), axis=1)
    home = np.where(known, home, distance.argmin(axis=1))
    belongs = known | np.isfinite(distance.min(axis=1))
    groups = {}
    for row, lang in enumerate(langs):
        for name in set(script[words]):
            if len(ids := words[belongs & (home == row) & (script[words] == name)]):
                groups[lang, str(name)] = ids
    return Words(pieces, script.tolist(), groups)


def _counts(corpus: Corpus, lang: str, encoder: Tokenizer) -> NDArray[np.int64]:
    """(vocab,): how often the texts of a language have each piece."""
    texts = [text for text, own in zip(corpus.texts, corpus.langs, strict=True) if own == lang]
    counts = np.zeros(encoder.get_vocab_size(), np.int64)
    for start in range(0, len(texts), _BLOCK):
        encoded = encoder.encode_batch_fast(texts[start : start + _BLOCK], add_special_tokens=False)
        counts += np.bincount(np.concatenate([np.array(e.ids, np.int64) for e in encoded]), minlength=len(counts))
    return counts


def _encoder(teacher: Teacher) -> Tokenizer:
    encoder = Tokenizer.from_str(json.dumps(teacher.tokenizer))
    encoder.no_truncation()
    return encoder


def _script_of(piece: str) -> str:
    """The script of a whole word, as unicodedata names it; empty for what is none."""
    word = piece.removeprefix(_SPACE)
    if not word or any(unicodedata.category(c)[0] not in "LM" for c in word):
        return ""
    script = unicodedata.name(word[0], "UNKNOWN").split()[0]
    if script in _UNSPACED:
        return script if len(word) >= _LETTERS_UNSPACED else ""
    return script if piece.startswith(_SPACE) and len(word) >= _LETTERS else ""


def with_made_up(corpus: Corpus, teacher: Teacher, sentences: int, seed: int) -> Corpus:
    """A corpus, and after it every word of its languages and `sentences` of its sentences with words of them replaced.

    Each made-up text is paired with itself.
    """
    random = np.random.default_rng(seed)
    words = find_words(corpus, teacher)
    fit = [i for i, text in enumerate(corpus.texts) if _CHARACTERS[0] <= len(text) <= _CHARACTERS[1]]
    drawn = random.permutation(np.array(fit, np.int64))[:sentences]
    encoded = _encoder(teacher).encode_batch_fast([corpus.texts[i] for i in drawn], add_special_tokens=False)
    rows = [(word, lang, WORDS) for word, lang in words]
    for e, i in zip(encoded, drawn, strict=True):
        rows.append((words.replaced(e.ids, corpus.langs[i], random), corpus.langs[i], SUBSTITUTED))
    known = set(corpus.texts)
    made = {text: (lang, name) for text, lang, name in rows if text and text not in known}
    places = len(corpus.texts) + np.arange(len(made), dtype=np.int32)
    return Corpus(
        texts=[*corpus.texts, *made],
        langs=[*corpus.langs, *(lang for lang, _ in made.values())],
        pairs=np.concatenate([corpus.pairs, np.stack([places, places], axis=1)]),
        anchors=np.concatenate([corpus.anchors, places]),
        sets=[*corpus.sets, *(name for _, name in made.values())],
    )
