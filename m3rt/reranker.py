"""M3Reranker: pairs of a query and a passage in, scores out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .batching.ahead import ahead
from .batching.logits import LogitCollector
from .batching.plan import plan
from .bundle import Bundle
from .engines import Engine, Outputs
from .errors import InputError
from .model import Model, Progress, progress
from .relevance import Ranked, Scores
from .text.pairs import PairIds, PairTokenizer
from .text.tokenizer import Tokenizer
from .values.arguments import flag, whole_number
from .values.listing import listed
from .values.shown import shown
from .values.texts import check_texts, pairs_of

Pairs = Iterable[tuple[str, str]] | tuple[str, str]


class M3Reranker(Model):
    """A reranker's bundle loaded into an engine; one instance may be called from many threads.

    model: directory of a bundle of kind reranker, such as bge-reranker-v2-m3's. The options are M3Encoder's.
    Raises BundleError, EngineMissing, DeviceMissing or InputError.

    Read-only attributes: bundle (what is on disk) with its manifest and path, tokenizer, engine, batch_tokens.

    >>> reranker = M3Reranker("bge-reranker-v2-m3-int8")                              # doctest: +SKIP
    >>> reranker.rank("What is BGE M3?", ["A bee.", "An embedding model."])[0].index  # doctest: +SKIP
    1
    """

    _kinds = ("reranker",)
    _other = "M3Encoder"

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, device=device, engine=engine, threads=threads, batch_tokens=batch_tokens)

    def _assemble(self, bundle: Bundle, engine: Engine, tokenizer: Tokenizer, batch_tokens: int | None) -> None:
        super()._assemble(bundle, engine, tokenizer, batch_tokens)
        m = bundle.manifest
        assert m.classifier is not None
        self._pairs = PairTokenizer(tokenizer, m.special_tokens, m.classifier.separators, m.max_tokens)

    def compute_score(
        self,
        sentence_pairs: Pairs,
        *,
        normalize: bool = False,
        max_length: int | None = None,
        query_max_length: int | None = None,
        show_progress: bool | Progress = False,
    ) -> Scores:
        """The relevance of each (query, passage), in order; one pair alone gives one score.

        normalize: a sigmoid of the logit, 0 to 1, in its place. max_length: tokens kept of a pair, special ones
        counted, default and limit the bundle's max_tokens; the passage is cut. query_max_length: tokens kept of the
        query, default three quarters of max_length. show_progress: as in M3Encoder.encode().
        Raises InputError for unusable pairs or options, for a pair whose query leaves no room, and for a model of
        several labels; EngineError when inference fails or a score is not finite.
        """
        if self.manifest.labels != 1:
            raise InputError(
                f"{self.path} gives {self.manifest.labels} labels to a pair, expected a reranker's one; use logits()"
            )
        normalize = flag("normalize", normalize)
        logits, ids = self._run(pairs_of(sentence_pairs)[0], max_length, query_max_length, show_progress)
        values = logits[:, 0].astype(np.float64)
        return Scores(_sigmoid(values) if normalize else values, ids.tokens.lengths, ids.tokens.truncated)

    def rank(
        self,
        query: str,
        passages: Iterable[str],
        top_k: int | None = None,
        *,
        normalize: bool = False,
        max_length: int | None = None,
        query_max_length: int | None = None,
        show_progress: bool | Progress = False,
    ) -> list[Ranked]:
        """The passages by their scores, the best first, equal ones in their order; top_k: so many of them at most.

        The options and errors are compute_score()'s.
        """
        if not isinstance(query, str):
            raise InputError(f"query is {shown(query)}, expected str")
        texts = listed("passages", passages)
        check_texts(texts, "passage")
        count = len(texts) if top_k is None else whole_number("top_k", top_k, 1, 1 << 30)
        scores = self.compute_score(
            [(query, text) for text in texts],
            normalize=normalize,
            max_length=max_length,
            query_max_length=query_max_length,
            show_progress=show_progress,
        )
        order = np.argsort(-scores.values, kind="stable")[:count]
        return [Ranked(i, scores[i], bool(scores.truncated[i])) for i in order.tolist()]

    def logits(
        self, sentence_pairs: Pairs, *, max_length: int | None = None, query_max_length: int | None = None
    ) -> NDArray[np.float32]:
        """All logits of each pair, (n, labels) float32; for models of several labels. Raises as compute_score()."""
        return self._run(pairs_of(sentence_pairs)[0], max_length, query_max_length, False)[0]

    def prepare(
        self, sentence_pairs: Pairs, *, max_length: int | None = None, query_max_length: int | None = None
    ) -> PairIds:
        """The tokens of n pairs as compute_score() scores them: how many they are, and which pairs are cut."""
        return self._pairs.encode(pairs_of(sentence_pairs)[0], *self._limits(max_length, query_max_length))

    def tokenize(
        self, query: str, passage: str, *, max_length: int | None = None, query_max_length: int | None = None
    ) -> list[int]:
        """The token ids that compute_score() feeds the model for one pair, special tokens included."""
        limits = self._limits(max_length, query_max_length)
        ids: list[int] = self._pairs.encode(pairs_of((query, passage))[0], *limits).tokens.ids.tolist()
        return ids

    def _run(
        self,
        pairs: list[tuple[str, str]],
        max_length: int | None,
        query_max_length: int | None,
        show_progress: bool | Progress,
    ) -> tuple[NDArray[np.float32], PairIds]:
        m = self.manifest
        ids = self._pairs.encode(pairs, *self._limits(max_length, query_max_length))
        result = LogitCollector(len(pairs), m.labels)

        def run(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], int, Outputs]:
            tokens, mask, types = ids.padded(rows, m.special_tokens.pad)
            out = self.engine.run(tokens, mask, m.heads, types if m.takes_token_types else None)
            return rows, int(mask.sum()), out

        batches = plan(ids.tokens.lengths, self.batch_tokens, self.engine.pass_tokens)
        with progress(len(ids.tokens.ids), show_progress, "rerank") as advance:
            for rows, count, out in ahead(run, batches, self.engine.parallel_passes):
                result.add(rows, out)
                advance(len(rows), count)
        return result.logits, ids

    def _limits(self, max_length: int | None, query_max_length: int | None) -> tuple[int, int]:
        limit = self.manifest.max_tokens
        length = limit if max_length is None else whole_number("max_length", max_length, 1, limit)
        if query_max_length is None:
            return length, max(1, length * 3 // 4)
        return length, whole_number("query_max_length", query_max_length, 1, 1 << 30)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """FlagReranker's, in float64; a logit far below 0 gives 0."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits)), np.float64)
