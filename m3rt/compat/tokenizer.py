"""The tokenizer of a bundle with transformers' names, for code that counts or shows tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..bundle.manifest import TOKENIZER
from ..bundle.renumbering import renumbering
from ..text.unigram import fast_tokenizer
from ..values.arguments import flag, whole_number
from ..values.listing import listed
from ..values.texts import check_texts


class CompatTokenizer:
    """Has the calls of a transformers tokenizer that need no tensors: ids, tokens and counts of texts.

    Its options are truncation, max_length, padding and add_special_tokens.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._fast = fast_tokenizer(bundle.file(TOKENIZER))
        self._renumbering = renumbering(bundle)
        self._size = bundle.manifest.architecture.vocab_size if self._renumbering else self._fast.get_vocab_size()
        special = bundle.manifest.special_tokens
        self.bos_token_id = self.cls_token_id = special.bos
        self.eos_token_id = self.sep_token_id = special.eos
        self.pad_token_id, self.unk_token_id = special.pad, special.unk
        self.model_max_length = bundle.manifest.max_tokens

    def __len__(self) -> int:
        return int(self._size)

    @property
    def vocab_size(self) -> int:
        return len(self)

    def __call__(
        self,
        text: str | Iterable[str],
        *,
        truncation: bool = False,
        max_length: int | None = None,
        padding: bool = False,
        add_special_tokens: bool = True,
    ) -> dict[str, Any]:
        """Return input_ids and attention_mask: lists for one str, lists of lists for several. Raises InputError."""
        texts = [text] if isinstance(text, str) else listed("text", text, "a str or a list of str")
        check_texts(texts)
        limit = whole_number("max_length", self.model_max_length if max_length is None else max_length, 3, 1 << 20)
        special = flag("add_special_tokens", add_special_tokens)
        rows = [
            self._originals(encoding.ids)
            for encoding in self._fast.encode_batch_fast(texts, add_special_tokens=special)
        ]
        if flag("truncation", truncation):
            end = [self.eos_token_id] if special else []
            rows = [row if len(row) <= limit else [*row[: limit - len(end)], *end] for row in rows]
        width = max(map(len, rows), default=0) if flag("padding", padding) else 0
        ids = [row + [self.pad_token_id] * (width - len(row)) for row in rows]
        masks = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        single = isinstance(text, str)
        return {"input_ids": ids[0] if single else ids, "attention_mask": masks[0] if single else masks}

    def encode(self, text: str, **options: Any) -> list[int]:
        """Return the token ids of one text."""
        check_texts([text])
        ids: list[int] = self(text, **options)["input_ids"]
        return ids

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of one text, without special ones; an unknown token is shown as its text."""
        check_texts([text])
        tokens: list[str] = self._fast.encode(text, add_special_tokens=False).tokens
        return tokens

    def decode(self, token_ids: int | Iterable[int], skip_special_tokens: bool = False) -> str:
        """Return the text of token ids."""
        ids = (
            [token_ids]
            if isinstance(token_ids, int | np.integer)
            else listed("token_ids", token_ids, "a list of token ids")
        )
        skip = flag("skip_special_tokens", skip_special_tokens)
        return str(self._fast.decode([self._id(i) for i in ids], skip_special_tokens=skip))

    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> Any:
        """Return the token of an id, or of each of several ids."""
        if isinstance(ids, int | np.integer):
            return self._fast.id_to_token(self._id(ids))
        return [self._fast.id_to_token(self._id(i)) for i in listed("ids", ids, "a list of token ids")]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Return the id of a token, or of each of several; unk_token_id for an unknown one."""
        names = [tokens] if isinstance(tokens, str) else listed("tokens", tokens)
        check_texts(names, "token")
        ids = [
            self.unk_token_id if (i := self._fast.token_to_id(name)) is None else self._originals([i])[0]
            for name in names
        ]
        return ids[0] if isinstance(tokens, str) else ids

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token."""
        vocabulary: dict[str, int] = self._fast.get_vocab()
        return dict(zip(vocabulary, self._originals(list(vocabulary.values())), strict=True))

    def _id(self, token: object) -> int:
        """Check an id of the whole vocabulary and return that of tokenizer.json."""
        i = whole_number("a token id", token, 0, len(self) - 1)
        return int(self._renumbering.own(np.array(i))) if self._renumbering else i

    def _originals(self, ids: list[int]) -> list[int]:
        """The whole vocabulary's ids, where tokenizer.json has lost pieces."""
        return self._renumbering.original(np.array(ids, np.int64)).tolist() if self._renumbering else ids
