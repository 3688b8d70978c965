"""A Unigram vocabulary that opens at once, because its numbers stay in files that are mapped into memory.

Hugging Face's tokenizers splits a text into words, with a tokenizer.json whose vocabulary has only the unknown piece.
It shows an unknown word as the word's own text, so its tokens are the normalised words. This module splits each word
into pieces as tokenizers does (`encode_optimized` in src/models/unigram/model.rs): it adds the same doubles in the same
order, and so finds the same ids.
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
PIPELINE = f"{FOLDER}/pipeline.json"  # tokenizer.json with <unk> as its whole vocabulary
TRIE = f"{FOLDER}/pieces.trie"  # marisa-trie: piece -> key
IDS = f"{FOLDER}/ids.npy"  # (keys,) int32: key -> token id
SCORES = f"{FOLDER}/scores.npy"  # (keys,) float64: key -> log probability, none above 0
FILES = (PIPELINE, TRIE, IDS, SCORES)

LONGEST_PIECE = 32  # characters; SentencePiece makes pieces of at most 16
MAX_BYTES = 1 << 28  # of a tokenizer.json or a trie; XLM-R's tokenizer.json has 17 MB
UNKNOWN_PENALTY = 10.0  # K_UNK_PENALTY of tokenizers and SentencePiece
_CACHED_WORDS = 65_536
_MAX_CACHED_WORD = 64  # characters; longer words seldom come again
_NPY = b"\x93NUMPY\x01\x00"  # version 1.0; two bytes with the header's length follow
_NPY_START = len(_NPY) + 2
_NPY_HEADER = re.compile(rb"\{'descr': '([<>|=]\w{1,8})', 'fortran_order': False, 'shape': \((\d{1,12}),\), \} *\n")


class Unigram:
    """Makes token ids with the files of a bundle's unigram folder; safe in many threads.

    trie: the bytes of its TRIE, checked by m3rt.text.tries, since marisa trusts them.
    Raises BundleError for files that do not belong together.
    """

    def __init__(self, bundle: Path, trie: bytes) -> None:
        self._words = fast_tokenizer(bundle / PIPELINE)
        self._trie = _opened(trie, bundle / TRIE)
        self._ids = _array(bundle / IDS, np.dtype("<i4"), len(self._trie))
        scores = _array(bundle / SCORES, np.dtype("<f8"), len(self._trie))
        if self._ids.min() < 0 or self._ids.max() >= len(self._ids):
            raise BundleError(f"{bundle / IDS} has ids outside 0 to {len(self._ids) - 1}; export the bundle again")
        if not scores.max() <= 0:  # true also for NaN
            raise BundleError(f"{bundle / SCORES} has scores above 0; export the bundle again")
        # Reading single items of a memoryview takes half the time of numpy's.
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
        """Return the token ids of each text, special tokens around them."""
        # encode_batch_fast would leave out the tokens' texts.
        return [self._row(words) for words in self._words.encode_batch(texts, add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids; one that does not exist has none."""
        known = [token for token in tokens if 0 <= token < len(self._ids)]
        pieces = [self._trie.restore_key(int(self._keys[token])) for token in known]
        decoder = self._words.decoder
        return str(decoder.decode(pieces) if decoder else " ".join(pieces))

    def _row(self, words: Any) -> list[int]:
        row = self._around[:1]
        for word, i in zip(words.tokens, words.ids, strict=True):
            if i:  # 0 is the only piece; the others are added tokens, whose text may have spaces around it
                row.append(self._added[i])
            else:
                row += self._cached(word) if len(word) <= _MAX_CACHED_WORD else self._pieces(word)
        return row + self._around[1:]

    def _pieces(self, word: str) -> tuple[int, ...]:
        """Return the ids of the pieces with the highest sum of scores."""
        n = len(word)
        score = [0.0] * (n + 1)  # of the best path to each character
        start = [-1] * (n + 1)  # of the path's last piece; -1 where no path is known yet
        piece = [self._unknown] * (n + 1)  # the path's last piece
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
        """Map each token id to the trie's key."""
        keys = np.zeros(len(self._ids), np.int32)
        keys[self._ids] = np.arange(len(self._ids), dtype=np.int32)
        return keys


def fast_tokenizer(path: Path) -> Any:
    """Open a tokenizer.json with Hugging Face's tokenizers, without truncation or padding."""
    from tokenizers import Tokenizer

    with in_one_line(f"{path} is not a tokenizer file"):
        fast = Tokenizer.from_buffer(_content(path))
    fast.no_truncation()
    fast.no_padding()
    return fast


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None


def _opened(content: bytes, path: Path) -> Any:
    from marisa_trie import Trie

    try:
        # From the checked bytes, not mapped: the file may change after the check.
        trie = Trie().frombytes(content)
    except Exception as error:  # whatever the C++ library throws
        raise BundleError(f"{path} is not a trie: {error}; export the bundle again") from None
    if not len(trie):
        raise BundleError(f"{path} holds no pieces; export the bundle again")
    return trie


def _array(path: Path, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
    """Map a .npy file; numpy's own reader does not work in two threads at once under Python 3.11."""
    try:
        with path.open("rb") as file:
            start = file.read(_NPY_START)
            header = file.read(int.from_bytes(start[len(_NPY) :], "little"))
        if not (start.startswith(_NPY) and (fields := _NPY_HEADER.fullmatch(header))):
            raise ValueError("no header of one dimension")
        if (fields[1].decode(), int(fields[2])) != (dtype.str, length):
            stored = f"{fields[1].decode()} ({fields[2].decode()},)"
            raise BundleError(f"{path} holds {stored}, expected {dtype.str} {(length,)}; export the bundle again")
        return np.memmap(path, dtype, "r", _NPY_START + len(header), (length,))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is not an array: {error}; export the bundle again") from None
