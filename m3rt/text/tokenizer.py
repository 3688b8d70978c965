"""Turns text into token ids; it knows the tokenizer's files and the special tokens, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..bundle.fields import SpecialTokens
from ..bundle.manifest import TOKENIZER
from ..bundle.renumbering import Renumbering, renumbering
from ..errors import BundleError
from ..host.forks import native
from ..values.ragged import offsets_of
from ..values.shown import shown
from ..values.texts import check_texts
from .rust import in_one_line
from .tries import checked
from .unigram import FILES, PIPELINE, Unigram, fast_tokenizer

# Over a long text a token has no more than 16 characters on average. A text with more than this many characters for
# each token allowed is first tried by its beginning alone.
_CHARACTERS_PER_TOKEN = 24


@dataclass(frozen=True, slots=True)
class TokenIds:
    """The token ids of n texts, ragged: ids (total,) int32, offsets (n + 1,) int64, truncated (n,) bool."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Count the tokens of each text (n,), special tokens included."""
        return self.offsets[1:] - self.offsets[:-1]  # np.diff() takes several times as long for one text

    def padded(self, rows: NDArray[np.int64], pad: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return fresh (len(rows), longest) int64 arrays: the ids padded on the right, and the attention mask."""
        lengths = self.lengths[rows]
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths[:, None]
        ids = np.full(mask.shape, pad, np.int64)
        ids[mask] = self.ids[(self.offsets[rows][:, None] + columns)[mask]]
        return ids, mask.astype(np.int64)


class _Model(Protocol):
    """Turns texts into token ids, special tokens included, and single ids back into text."""

    def ids(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, tokens: Sequence[int]) -> str: ...


class _HuggingFace:
    """Runs any tokenizer.json with Hugging Face's tokenizers."""

    def __init__(self, path: Path) -> None:
        self._fast = fast_tokenizer(path)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self._fast.encode_batch_fast(texts)]

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._fast.decode(list(tokens), skip_special_tokens=False))


class Tokenizer:
    """Turns texts into token ids, cut to a length; safe in many threads.

    path: a tokenizer.json. trie: the checked bytes of unigram.TRIE; with them the unigram files beside `path` are used
    instead. renumbering: of a pruned vocabulary; encode() returns and decode() takes ids of the whole one.
    """

    def __init__(
        self,
        path: Path,
        special: SpecialTokens,
        *,
        trie: bytes | None = None,
        renumbering: Renumbering | None = None,
    ) -> None:
        self._file = path if trie is None else path.parent / PIPELINE
        self._eos = special.eos
        self._renumbering = renumbering
        with native(), in_one_line(f"{self._file} is not a tokenizer file"):
            self._model: _Model = _HuggingFace(path) if trie is None else Unigram(path.parent, trie)
        if (ids := self._ids([""])[0]) != [special.bos, special.eos]:
            raise BundleError(
                f"{self._file} makes {ids} of an empty text, expected [{special.bos}, {special.eos}]; it has no "
                "template that puts the special tokens around a text"
            )

    @classmethod
    def of(cls, bundle: Bundle) -> Tokenizer:
        """Open the tokenizer of a bundle. Raises BundleError for missing or damaged files."""
        trie = None
        if any(name in bundle.manifest.files for name in FILES):
            for name in FILES:
                bundle.file(name)  # all four, or a BundleError
            trie = checked(bundle)
        return cls(bundle.file(TOKENIZER), bundle.manifest.special_tokens, trie=trie, renumbering=renumbering(bundle))

    def encode(self, texts: Sequence[str], max_length: int) -> TokenIds:
        """Tokenize n texts to <s> ... </s>, cut to `max_length` tokens keeping the last special token.

        Raises InputError for anything that is not a str or not valid Unicode, with its index.
        """
        check_texts(texts)
        rows = self._beginnings(texts, max_length)
        truncated = np.fromiter((len(r) > max_length for r in rows), np.bool_, len(rows))
        for i in np.flatnonzero(truncated):
            rows[i] = [*rows[i][: max_length - 1], self._eos]
        offsets = offsets_of(map(len, rows))
        ids = np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1]))
        return TokenIds(self._renumbering.original(ids) if self._renumbering else ids, offsets, truncated)

    def decode(self, *tokens: int) -> str:
        """Return the text of token ids together, of a single one as FlagEmbedding's convert_id_to_token does."""
        with in_one_line(f"{self._file} has no text for tokens {shown(tokens)}"):
            own = self._renumbering.own(np.array(tokens, np.int64)).tolist() if self._renumbering else tokens
            return self._model.decode(own)

    def _beginnings(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return the token ids of each text: all of them, or at least max_length + 1."""
        limit = _CHARACTERS_PER_TOKEN * max_length
        rows = self._ids([t if len(t) <= limit else _beginning(t, limit) for t in texts])
        # A beginning of at most max_length tokens does not show whether the text is longer: tokenize it whole.
        whole = [i for i, t in enumerate(texts) if len(t) > limit and len(rows[i]) <= max_length]
        if whole:
            for i, row in zip(whole, self._ids([texts[i] for i in whole]), strict=True):
                rows[i] = row
        return rows

    def _ids(self, texts: list[str]) -> list[list[int]]:
        with native(), in_one_line(f"{self._file} cannot tokenize a text"):
            return self._model.ids(texts)


def _beginning(text: str, limit: int) -> str:
    """Cut the text at the last space before `limit`: words never join across a space, so its ids are a prefix."""
    cut = text.rfind(" ", 0, limit)
    return text if cut <= 0 else text[:cut].rstrip()
