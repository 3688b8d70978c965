"""Two texts as one sequence, packed as FlagEmbedding's FlagReranker does; knows the tokenizer, no model.

Source: FlagEmbedding 1.4.2, inference/reranker/encoder_only/base.py, and transformers' prepare_for_model().
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.fields import SpecialTokens
from ..errors import InputError
from .tokenizer import TokenIds, Tokenizer


@dataclass(frozen=True, slots=True)
class PairIds:
    """Token ids of n pairs, and where the second text of each starts: (n,) int64."""

    tokens: TokenIds
    second: NDArray[np.int64]

    def padded(
        self, rows: NDArray[np.int64], pad: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Fresh (len(rows), longest) int64 arrays: ids padded on the right, attention mask, token types.

        A token type is 1 in the second text and its last special token.
        """
        ids, mask = self.tokens.padded(rows, pad)
        types = np.arange(ids.shape[1]) >= self.second[rows][:, None]
        return ids, mask, types * mask


@dataclass(frozen=True, slots=True)
class PairTokenizer:
    """Pairs of texts to token ids; `limit` is the longest sequence that the model takes."""

    tokenizer: Tokenizer
    special: SpecialTokens
    separators: int
    limit: int

    @property
    def overhead(self) -> int:
        """The special tokens of a pair."""
        return self.separators + 2

    def encode(self, pairs: Sequence[tuple[str, str]], max_length: int, query_max_length: int) -> PairIds:
        """bos query eos passage eos, with as many eos between as the model wants.

        The query keeps query_max_length tokens; the passage is cut where the pair has more than max_length, or not at
        all where that would leave none of it. Raises InputError for a pair that is then longer than `limit`.
        """
        places = {query: i for i, query in enumerate(dict.fromkeys(query for query, _ in pairs))}
        queries = self.tokenizer.encode(list(places), query_max_length + 2)
        passages = self.tokenizer.encode([passage for _, passage in pairs], max_length + 2)
        which = np.fromiter((places[query] for query, _ in pairs), np.int64, len(pairs))
        first = queries.lengths[which] - 2
        second = passages.lengths - 2
        excess = first + second + self.overhead - max_length
        cut = (excess > 0) & (excess < second)
        second = np.where(cut, second - excess, second)
        self._check(first, second)
        offsets = np.zeros(len(pairs) + 1, np.int64)
        np.cumsum(first + second + self.overhead, out=offsets[1:])
        ids = np.full(offsets[-1], self.special.eos, np.int32)
        ids[offsets[:-1]] = self.special.bos
        starts = first + self.separators + 1
        for i, place in enumerate(which):
            query, passage = queries.offsets[place] + 1, passages.offsets[i] + 1
            ids[offsets[i] + 1 :][: first[i]] = queries.ids[query : query + first[i]]
            ids[offsets[i] + starts[i] :][: second[i]] = passages.ids[passage : passage + second[i]]
        return PairIds(TokenIds(ids, offsets, cut | passages.truncated | queries.truncated[which]), starts)

    def _check(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        lengths = first + second + self.overhead
        if len(long := np.flatnonzero(lengths > self.limit)):
            i = int(long[0])
            raise InputError(
                f"pair {i} has {lengths[i]} tokens, {first[i]} of them its query's, expected at most {self.limit}; "
                "give a smaller query_max_length, since only passages are cut to max_length"
            )
