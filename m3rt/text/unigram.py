"""A Unigram vocabulary that opens at once: its numbers stay in files that the system maps into memory.

Hugging Face's tokenizers splits a text into words, from a tokenizer.json whose vocabulary is one piece: the unknown
one. Unigram shows an unknown word as its own text, so its tokens are the normalised words. Here each word is split
into pieces, as tokenizers does (`encode_optimized` in src/models/unigram/model.rs): the same sums of doubles in the
same order, so the same ids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..host.files import read_bytes
from .rust import in_one_line

FOLDER = "unigram"
PIPELINE = f"{FOLDER}/pipeline.json"  # tokenizer.json with <unk> for a vocabulary
TRIE = f"{FOLDER}/pieces.trie"  # marisa-trie: piece -> key
IDS = f"{FOLDER}/ids.npy"  # (keys,) int32: key -> token id
SCORES = f"{FOLDER}/scores.npy"  # (keys,) float64: key -> log probability, none above 0
FILES = (PIPELINE, TRIE, IDS, SCORES)

LONGEST_PIECE = 32  # characters; SentencePiece's pieces have 16 at most
MOST_BYTES = 1 << 28  # of a tokenizer.json or a trie; XLM-R's tokenizer.json has 17 MB
UNKNOWN_PENALTY = 10.0  # K_UNK_PENALTY of tokenizers and SentencePiece
_CACHED_WORDS = 65_536
_CACHED_LENGTH = 64  # characters of a word that may come again
_NPY = b"\x93NUMPY\x01\x00"  # of version 1.0, and after it the header's length in two bytes
_NPY_START = len(_NPY) + 2
_NPY_HEADER = re.compile(rb"\{'descr': '([<>|=]\w{1,8})', 'fortran_order': False, 'shape': \((\d{1,12}),\), \} *\n")


class Unigram:
    """Token ids by the files of a bundle's unigram folder; safe in many threads.

    trie: the bytes of its TRIE, which marisa trusts: see m3rt.text.tries.
    Raises BundleError for files that do not belong together.
    """

    def __init__(self, bundle: Path, trie: bytes) -> None:
        self._words = fast_tokenizer(bundle / PIPELINE)
        self._trie = _opened(trie, bundle / TRIE)
        self._ids = _array(bundle / IDS, np.dtype("<i4"), len(self._trie))
        scores = _array(bundle / SCORES, np.dtype("<f8"), len(self._trie))
        if self._ids.min() < 0 or self._ids.max() >= len(self._ids):
            raise BundleError(f"{bundle / IDS} has ids outside 0 to {len(self._ids) - 1}; export the bundle again")
        if not scores.max() <= 0:  # also when one is not a number
            raise BundleError(f"{bundle / SCORES} has scores above 0; export the bundle again")
        # Single items of a memoryview cost half of what numpy's do.
        self._id: Any = memoryview(self._ids.data)
        self._score: Any = memoryview(scores.data)
        self._unknown_score = float(scores.min()) - UNKNOWN_PENALTY
        try:
            added = self._words.get_added_tokens_decoder().items()
            self._added = {i: self._id[self._trie[token.content]] for i, token in added}
            self._unknown: int = self._id[self._trie[self._words.id_to_token(0)]]
        except (KeyError, TypeError) as error:
            raise BundleError(f"{bundle / PIPELINE} names a piece that {TRIE} lacks: {error}") from None
        self._around = list(self._words.encode("").ids)
        self._cached = lru_cache(_CACHED_WORDS)(self._pieces)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens around them."""
        # Not encode_batch_fast, which leaves the tokens' texts out.
        return [self._row(words) for words in self._words.encode_batch(texts, add_special_tokens=False)]

    def decode(self, token: int) -> str:
        """The text of one token id, "" for none."""
        if not 0 <= token < len(self._ids):
            return ""
        piece = self._trie.restore_key(int(self._keys[token]))
        decoder = self._words.decoder
        return str(decoder.decode([piece]) if decoder else piece)

    def _row(self, words: Any) -> list[int]:
        row = self._around[:1]
        for word, i in zip(words.tokens, words.ids, strict=True):
            if i:  # 0 is the only piece; all others are added tokens, whose text may hold spaces around them
                row.append(self._added[i])
            else:
                row += self._cached(word) if len(word) <= _CACHED_LENGTH else self._pieces(word)
        return row + self._around[1:]

    def _pieces(self, word: str) -> tuple[int, ...]:
        """Ids of the pieces with the highest sum of scores."""
        n = len(word)
        score = [0.0] * (n + 1)  # of the best way to each character
        start = [-1] * (n + 1)  # where its last piece starts, -1 before any
        piece = [self._unknown] * (n + 1)
        for i in range(n):
            known = False
            for prefix, key in self._trie.iter_prefixes_with_ids(word[i : i + LONGEST_PIECE]):
                end = i + len(prefix)
                known |= end == i + 1
                candidate = score[i] + self._score[key]
                if start[end] < 0 or candidate > score[end]:
                    score[end], start[end], piece[end] = candidate, i, self._id[key]
            candidate = score[i] + self._unknown_score
            if not known and (start[i + 1] < 0 or candidate > score[i + 1]):
                score[i + 1], start[i + 1], piece[i + 1] = candidate, i, self._unknown
        ids: list[int] = []
        while n:
            if not (ids and piece[n] == ids[-1] == self._unknown):  # unknown characters in a row are one token
                ids.append(piece[n])
            n = start[n]
        return tuple(reversed(ids))

    @cached_property
    def _keys(self) -> NDArray[np.int32]:
        """The trie's key of each token id."""
        keys = np.zeros(len(self._ids), np.int32)
        keys[self._ids] = np.arange(len(self._ids), dtype=np.int32)
        return keys


def fast_tokenizer(path: Path) -> Any:
    """Hugging Face's tokenizer of a tokenizer.json, without truncation or padding."""
    from tokenizers import Tokenizer

    with in_one_line(f"{path} is not a tokenizer file"):
        fast = Tokenizer.from_buffer(_content(path))
    fast.no_truncation()
    fast.no_padding()
    return fast


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None


def _opened(content: bytes, path: Path) -> Any:
    from marisa_trie import Trie

    try:
        # Not mapped: a file may change after it was checked.
        trie = Trie().frombytes(content)
    except Exception as error:  # whatever the C++ library throws
        raise BundleError(f"{path} is not a trie: {error}; export the bundle again") from None
    if not len(trie):
        raise BundleError(f"{path} holds no pieces; export the bundle again")
    return trie


def _array(path: Path, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
    """A mapped .npy file, read without numpy's own reader, which Python 3.11 does not run in two threads at once."""
    try:
        with path.open("rb") as file:
            start = file.read(_NPY_START)
            header = file.read(int.from_bytes(start[len(_NPY) :], "little"))
        if not (start.startswith(_NPY) and (told := _NPY_HEADER.fullmatch(header))):
            raise ValueError("no header of one dimension")
        if (told[1].decode(), int(told[2])) != (dtype.str, length):
            found = f"{told[1].decode()} ({told[2].decode()},)"
            raise BundleError(f"{path} holds {found}, expected {dtype.str} {(length,)}; export the bundle again")
        return np.memmap(path, dtype, "r", _NPY_START + len(header), (length,))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is not an array: {error}; export the bundle again") from None
