"""Text to token ids: knows tokenizer.json and special tokens, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..bundle.manifest import TOKENIZER, SpecialTokens
from ..errors import BundleError, InputError
from ..host.forks import native
from ..values.listing import is_missing
from ..values.ragged import offsets_of
from ..values.schema import SURROGATE
from ..values.shown import kind, shown
from .rust import in_one_line
from .tries import checked
from .unigram import FILES, PIPELINE, Unigram, fast_tokenizer

# No tokenizer here makes tokens longer than 16 characters on average over a long text; a text longer than
# this many characters per allowed token is first tried by its head alone.
_CHARACTERS_PER_TOKEN = 24


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Ragged token ids of n texts: ids (total,) int32, offsets (n + 1,) int64, truncated (n,) bool."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, special tokens counted, (n,)."""
        return np.diff(self.offsets)

    def padded(self, rows: NDArray[np.int64], pad: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Fresh (len(rows), longest) int64 arrays: ids padded on the right, and the attention mask."""
        lengths = self.lengths[rows]
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths[:, None]
        ids = np.full(mask.shape, pad, np.int64)
        ids[mask] = self.ids[(self.offsets[rows][:, None] + columns)[mask]]
        return ids, mask.astype(np.int64)


class _Ids(Protocol):
    """Texts to token ids with their special tokens, and back one by one."""

    def ids(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, token: int) -> str: ...


class _HuggingFace:
    """Any tokenizer.json, by tokenizers."""

    def __init__(self, path: Path) -> None:
        self._fast = fast_tokenizer(path)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self._fast.encode_batch_fast(texts)]

    def decode(self, token: int) -> str:
        return str(self._fast.decode([token], skip_special_tokens=False))


class Tokenizer:
    """Texts to token ids, cut to a length; safe in many threads.

    path: a tokenizer.json. trie: the trie of unigram.py, whose other files are in that directory, to use instead.
    """

    def __init__(self, path: Path, special: SpecialTokens, *, trie: bytes | None = None) -> None:
        self._file = path if trie is None else path.parent / PIPELINE
        self._eos = special.eos
        with native(), in_one_line(f"{self._file} is not a tokenizer file"):
            self._model: _Ids = _HuggingFace(path) if trie is None else Unigram(path.parent, trie)
        if (ids := self._ids([""])[0]) != [special.bos, special.eos]:
            raise BundleError(
                f"{self._file} makes {ids} of an empty text, expected [{special.bos}, {special.eos}]; it has no "
                "template that puts the special tokens around a text"
            )

    @classmethod
    def of(cls, bundle: Bundle) -> Tokenizer:
        """The tokenizer of a bundle. Raises BundleError for files that are not what they should be."""
        trie = None
        if any(name in bundle.manifest.files for name in FILES):
            for name in FILES:
                bundle.file(name)  # all four, or a BundleError
            trie = checked(bundle)
        return cls(bundle.file(TOKENIZER), bundle.manifest.special_tokens, trie=trie)

    def encode(self, texts: Sequence[str], max_length: int) -> TokenIds:
        """Tokenize n texts to <s> ... </s>, cut to `max_length` tokens keeping the last special token.

        Raises InputError for anything that is not a str or not valid Unicode, with its index.
        """
        check_texts(texts)
        rows = self._heads(texts, max_length)
        truncated = np.fromiter((len(r) > max_length for r in rows), np.bool_, len(rows))
        for i in np.flatnonzero(truncated):
            rows[i] = [*rows[i][: max_length - 1], self._eos]
        offsets = offsets_of(map(len, rows))
        ids = np.fromiter((token for r in rows for token in r), np.int32, int(offsets[-1]))
        return TokenIds(ids, offsets, truncated)

    def decode(self, token: int) -> str:
        """The text of one token id, as FlagEmbedding's convert_id_to_token shows it."""
        with in_one_line(f"{self._file} has no text for token {token}"):
            return self._model.decode(token)

    def _heads(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Token ids of each text, all of them or at least max_length + 1."""
        limit = _CHARACTERS_PER_TOKEN * max_length
        rows = self._ids([t if len(t) <= limit else _head(t, limit) for t in texts])
        # A head that is not longer than the limit says nothing about the rest: do those whole.
        whole = [i for i, t in enumerate(texts) if len(t) > limit and len(rows[i]) <= max_length]
        for i, row in zip(whole, self._ids([texts[i] for i in whole]), strict=True):
            rows[i] = row
        return rows

    def _ids(self, texts: list[str]) -> list[list[int]]:
        with native(), in_one_line(f"{self._file} cannot tokenize a text"):
            return self._model.ids(texts)


def _head(text: str, limit: int) -> str:
    """The text up to the last space before `limit`: words never join across a space, so its ids are a prefix."""
    cut = text.rfind(" ", 0, limit)
    return text if cut <= 0 else text[:cut].rstrip()


def check_texts(texts: Sequence[object], what: str = "text") -> None:
    """Raise InputError, with the index, for the first item that is not a str of valid Unicode."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            if text is not None and is_missing(text):
                raise InputError(f"{what} {i} is {shown(text)}, a missing value, expected str; fill it or leave it out")
            raise InputError(f"{what} {i} is a {kind(text)}, expected str")
        if not text.isascii() and (found := SURROGATE.search(text)):
            raise InputError(
                f"{what} {i} holds a lone surrogate U+{ord(found[0]):04X} at character {found.start()}: not valid "
                "Unicode; repair it with text.encode('utf-8', 'replace').decode()"
            )
