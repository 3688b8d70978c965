"""Made-up texts: single words of the teacher's vocabulary, and sentences some of whose words are replaced by others.

The training texts lack most of the words that a user may ask for. The teacher's vector of a made-up text teaches the
student the meaning of such a word, without a real text that uses it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..constants import MADE_UP
from .corpus import Corpus
from .teacher import Teacher

WORDS_SET, SUBSTITUTED_SET = "words", "substituted"  # made-up texts count as data sets of these names
_SPACE = "▁"
_UNSPACED_SCRIPTS = {"CJK", "HIRAGANA", "KATAKANA", "THAI"}
_TEXTS_AT_A_TIME = 10_000  # for the tokenizer


@dataclass(frozen=True, slots=True)
class WholeWords:
    """The whole words of a teacher's XLM-R vocabulary: pieces after a space, or in a script without spaces.

    pieces (vocab,): the texts of all pieces. scripts (vocab,): the script of each piece as unicodedata names it, "" if
    the piece is not a word. groups: the ids of the words of each language and script.
    """

    pieces: list[str]
    scripts: list[str]
    groups: dict[tuple[str, str], NDArray[np.int64]]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield every word in small letters, with its language."""
        for (lang, _), ids in sorted(self.groups.items()):
            yield from ((self.pieces[i].removeprefix(_SPACE).lower(), lang) for i in ids)

    def replaced(self, ids: Sequence[int], lang: str, random: np.random.Generator) -> str:
        """Write out a sentence's piece ids, with some whole words replaced by others of their language and script."""
        share = random.uniform(*MADE_UP.replaced_share)
        written = []
        for place, i in enumerate(ids):
            script = self.scripts[i]
            whole = script in _UNSPACED_SCRIPTS or place + 1 == len(ids) or not self.pieces[ids[place + 1]][0].isalpha()
            others = self.groups.get((lang, script)) if script and whole else None
            if others is not None and random.random() < share:
                i = int(others[random.integers(len(others))])
            written.append(self.pieces[i])
        return "".join(written).replace(_SPACE, " ").strip()


def find_words(corpus: Corpus, teacher: Teacher) -> WholeWords:
    """Find the words of the teacher's vocabulary that belong to the corpus's languages.

    A word belongs to the language whose texts use it most. A word that the texts hardly use belongs to the language,
    among the languages written in its script, whose words' mean vector is nearest to the word's vector.
    """
    pieces = [piece for piece, _ in teacher.tokenizer_json["model"]["vocab"]]
    script = np.array([_script_of(piece) for piece in pieces])
    langs = sorted(set(corpus.langs))
    tokenizer = _tokenizer(teacher)
    counts = np.array([_counts(corpus, lang, tokenizer) for lang in langs])
    counts[:, script == ""] = 0
    use = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = np.flatnonzero(script != "")
    vectors = teacher.vectors([pieces[i].removeprefix(_SPACE).lower() for i in words])
    known = counts[:, words].sum(axis=0) >= MADE_UP.min_occurrences
    home = use[:, words].argmax(axis=0)
    distance = np.full((len(words), len(langs)), np.inf)
    for row in range(len(langs)):
        in_lang = known & (home == row)
        written = [s for s in set(script[words]) if use[row, script == s].sum() >= MADE_UP.min_script_share]
        if in_lang.any():
            candidates = np.isin(script[words], written)
            centre = vectors[in_lang].mean(axis=0)
            distance[candidates, row] = np.linalg.norm(vectors[candidates] - centre, axis=1)
    home = np.where(known, home, distance.argmin(axis=1))
    belongs = known | np.isfinite(distance.min(axis=1))
    groups = {}
    for row, lang in enumerate(langs):
        for name in set(script[words]):
            if len(ids := words[belongs & (home == row) & (script[words] == name)]):
                groups[lang, str(name)] = ids
    return WholeWords(pieces, script.tolist(), groups)


def _counts(corpus: Corpus, lang: str, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return (vocab,): how often the texts of a language have each piece."""
    texts = [text for text, spoken in zip(corpus.texts, corpus.langs, strict=True) if spoken == lang]
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for start in range(0, len(texts), _TEXTS_AT_A_TIME):
        encoded = tokenizer.encode_batch_fast(texts[start : start + _TEXTS_AT_A_TIME], add_special_tokens=False)
        counts += np.bincount(np.concatenate([np.array(e.ids, np.int64) for e in encoded]), minlength=len(counts))
    return counts


def _tokenizer(teacher: Teacher) -> Tokenizer:
    tokenizer = Tokenizer.from_str(json.dumps(teacher.tokenizer_json))
    tokenizer.no_truncation()
    return tokenizer


def _script_of(piece: str) -> str:
    """Return the script of a whole word, as unicodedata names it; empty if the piece is not a whole word."""
    word = piece.removeprefix(_SPACE)
    if not word or any(unicodedata.category(c)[0] not in "LM" for c in word):
        return ""
    script = unicodedata.name(word[0], "UNKNOWN").split()[0]
    if script in _UNSPACED_SCRIPTS:
        return script if len(word) >= MADE_UP.min_letters_unspaced else ""
    return script if piece.startswith(_SPACE) and len(word) >= MADE_UP.min_letters else ""


def with_made_up(corpus: Corpus, teacher: Teacher, sentences: int, seed: int) -> Corpus:
    """Append every word of a corpus's languages, and `sentences` of its sentences with some words replaced.

    Each made-up text is paired with itself.
    """
    random = np.random.default_rng(seed)
    words = find_words(corpus, teacher)
    shortest, longest = MADE_UP.sentence_characters
    fit = [i for i, text in enumerate(corpus.texts) if shortest <= len(text) <= longest]
    drawn = random.permutation(np.array(fit, np.int64))[:sentences]
    encoded = _tokenizer(teacher).encode_batch_fast([corpus.texts[i] for i in drawn], add_special_tokens=False)
    rows = [(word, lang, WORDS_SET) for word, lang in words]
    for e, i in zip(encoded, drawn, strict=True):
        rows.append((words.replaced(e.ids, corpus.langs[i], random), corpus.langs[i], SUBSTITUTED_SET))
    known = set(corpus.texts)
    made = {text: (lang, name) for text, lang, name in rows if text and text not in known}
    places = len(corpus.texts) + np.arange(len(made), dtype=np.int32)
    return Corpus(
        texts=[*corpus.texts, *made],
        langs=[*corpus.langs, *(lang for lang, _ in made.values())],
        pairs=np.concatenate([corpus.pairs, np.stack([places, places], axis=1)]),
        taught=np.concatenate([corpus.taught, places]),
        sets=[*corpus.sets, *(name for _, name in made.values())],
    )
