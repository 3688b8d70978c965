"""M3Encoder turns texts into embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from .batching.ahead import ahead
from .batching.collect import Collector
from .batching.plan import plan
from .batching.work import VectorFormat, Work
from .bundle.heads import Heads
from .bundle.prompts import prompted
from .embeddings import Embeddings
from .engines import Outputs
from .errors import EngineError, InputError
from .model import Model, progress
from .model import Progress as Progress
from .quantization import COLBERT_PRECISIONS, DENSE_PRECISIONS, checked_ranges
from .scoring import check_weights, mappings, pair_scores
from .text.scripts import script
from .values.arguments import choice_of, flag, whole_number
from .values.counts import counted
from .values.listing import items, listed
from .values.texts import pairs_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .queue import Queue

_CHARACTERS_LOOKED_AT = 200  # of a text, for its script
STREAM_TEXTS = 4096  # that stream() encodes at a time: enough to group by length, in little memory


class M3Encoder(Model):
    """A bundle loaded into an engine; one instance may be called from many threads.

    model: directory of a bundle, by default m3-tiny, the small model that comes with the package. device: "auto", "cpu"
    or "cuda". engine: "auto" or an engine's name. threads: CPU threads, by default as many as affinity and cgroup
    allow. batch_tokens: padded tokens of a forward pass, by default the engine's choice.
    Raises BundleError, EngineMissing, DeviceMissing or InputError.

    Read-only attributes: bundle (the files on disk) with its manifest and path, tokenizer, engine, batch_tokens.

    >>> model = M3Encoder("bge-m3-int8")                                    # doctest: +SKIP
    >>> model.encode(["What is BGE M3?"], return_sparse=True).dense_vecs    # doctest: +SKIP
    """

    _kinds = ("m3", "dense")
    _other = "M3Reranker"
    _warned_of_dim = False
    _warned_of_script = False

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        return_dense: bool = True,
        return_sparse: bool = False,
        return_colbert_vecs: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        dense_precision: str = "float32",
        dense_ranges: NDArray[np.float32] | None = None,
        colbert_precision: str = "float32",
        show_progress: bool | Progress = False,
    ) -> Embeddings:
        """Encode n texts (a str counts as one) into Embeddings in input order.

        texts: a list, or anything that holds str in an order: an array, a column of a table, a generator. max_length:
        tokens kept of each text, <s> and </s> counted; the default and the limit is the bundle's max_tokens.
        truncate_dim: keep so many first components of dense and ColBERT vectors and normalise again (Matryoshka).
        dense_precision: float32, int8, uint8, binary or ubinary, as quantization.quantize_embeddings() makes them, int8
        and uint8 of dense_ranges (2, dim), by default its default_ranges(). colbert_precision: float32, or int8 with a
        scale for each vector.
        show_progress: show a bar on stderr, or call a function with the number of texts and tokens of each pass.
        Raises InputError for unusable texts or options, EngineError when inference fails or its output is not finite.
        """
        work = self.prepare(
            texts,
            return_dense=return_dense,
            return_sparse=return_sparse,
            return_colbert_vecs=return_colbert_vecs,
            max_length=max_length,
            truncate_dim=truncate_dim,
            dense_precision=dense_precision,
            dense_ranges=dense_ranges,
            colbert_precision=colbert_precision,
        )
        return self._run(work, show_progress)

    def _run(self, work: Work, show_progress: bool | Progress) -> Embeddings:
        tokens, heads = work.tokens, work.heads
        result = Collector(self.manifest, tokens, heads)

        def run(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Outputs]:
            ids, mask = tokens.padded(rows, self.manifest.special_tokens.pad)
            return rows, mask, self.engine.run(ids, mask, heads)

        batches = plan(tokens.lengths, self.batch_tokens, self.engine.pass_tokens)
        with progress(len(tokens.ids), show_progress, "encode") as advance:
            for rows, mask, out in ahead(run, batches, self.engine.parallel_passes):
                result.add(rows, mask, out)
                advance(len(rows), int(mask.sum()))
        return result.embeddings(work.format)

    async def aencode(self, texts: str | Iterable[str], **options: Any) -> Embeddings:
        """encode() for an event loop. Callers that wait at the same time share forward passes, and take turns.

        Takes encode()'s options but show_progress. A caller that is cancelled is dropped before its next pass.
        Raises as encode(), and QueueFull when too much waits.
        """
        import asyncio

        work = await asyncio.to_thread(self.prepare, texts, **options)
        return await self.queue.encode(work)

    @cached_property
    def queue(self) -> Queue:
        """The queue that all aencode() calls share."""
        from .queue import Queue

        return Queue(self.engine, self.manifest, batch_tokens=self.batch_tokens)

    def prepare(
        self,
        texts: str | Iterable[str],
        *,
        return_dense: bool = True,
        return_sparse: bool = False,
        return_colbert_vecs: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        dense_precision: str = "float32",
        dense_ranges: NDArray[np.float32] | None = None,
        colbert_precision: str = "float32",
    ) -> Work:
        """The texts as token ids and encode()'s options, checked: what a Queue takes. Raises InputError."""
        heads = self._heads(return_dense, return_sparse, return_colbert_vecs)
        limit = self._limit(max_length)
        truncate_dim = self._truncate_dim(truncate_dim)
        choice_of("dense_precision", dense_precision, DENSE_PRECISIONS)
        choice_of("colbert_precision", colbert_precision, COLBERT_PRECISIONS)
        if dense_ranges is not None:
            dense_ranges = checked_ranges(dense_ranges, truncate_dim or self.manifest.dim)
        form = VectorFormat(truncate_dim, dense_precision, dense_ranges, colbert_precision)
        listed_texts = _texts(texts)
        work = Work(self.tokenizer.encode(listed_texts, limit), heads, form)
        self._warn_of_script(listed_texts)
        return work

    def tokenize(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Return the token ids that encode() gives the model for one text, <s> and </s> included."""
        ids: list[int] = self.tokenizer.encode([text], self._limit(max_length)).ids.tolist()
        return ids

    def encode_queries(self, queries: str | Iterable[str], **options: Any) -> Embeddings:
        """Encode with the bundle's query prompt in front of every text. Takes encode()'s options."""
        return self.encode(prompted(self.manifest.prompts, "query", _texts(queries)), **options)

    def encode_corpus(self, corpus: str | Iterable[str], **options: Any) -> Embeddings:
        """Encode with the bundle's passage prompt in front of every text. Takes encode()'s options."""
        return self.encode(prompted(self.manifest.prompts, "passage", _texts(corpus)), **options)

    def stream(self, texts: Iterable[str], *, chunk_size: int = STREAM_TEXTS, **options: Any) -> Iterator[Embeddings]:
        """Encode any number of texts in bounded memory: yield Embeddings of `chunk_size` texts at a time, in order.

        Takes encode()'s options. An error's message says how many texts came before it.
        """
        chunk_size = whole_number("chunk_size", chunk_size, 1, 1 << 30)
        source, done = items("texts", texts, "an iterable of str"), 0
        show_progress = options.pop("show_progress", False)
        chunks = iter(lambda: list(islice(source, chunk_size)), [])
        # Where passes leave the CPUs idle, the next texts become tokens meanwhile.
        prepared = ahead(lambda chunk: self.prepare(chunk, **options), chunks, self.engine.parallel_passes)
        with closing(prepared):
            while True:
                try:
                    if (work := next(prepared, None)) is None:
                        return
                    yield self._run(work, show_progress)
                except (InputError, EngineError) as error:
                    raise type(error)(f"after {counted(done, 'text')}: {error}") from None
                done += len(work.tokens.truncated)

    def compute_score(
        self,
        sentence_pairs: Iterable[tuple[str, str]] | tuple[str, str],
        *,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        weights_for_different_modes: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """Score the relevance of (query, passage) pairs in five modes, as FlagEmbedding's compute_score does.

        Returns a list of floats, or one float for a single pair, by mode: colbert, sparse, dense, sparse+dense,
        colbert+sparse+dense. weights_for_different_modes: of dense, sparse, colbert; default 1, 1, 1.
        """
        pairs, single = pairs_of(sentence_pairs)
        check_weights(weights_for_different_modes)  # before the slow encoding
        options = Heads(True, True, True).keywords()
        queries = self.encode([q for q, _ in pairs], max_length=max_query_length, **options)
        passages = self.encode([p for _, p in pairs], max_length=max_passage_length, **options)
        scores = pair_scores(queries, passages, weights_for_different_modes)
        return {mode: values[0] if single else values for mode, values in scores.items()}

    def convert_id_to_token(
        self, lexical_weights: Mapping[Any, float] | Iterable[Mapping[Any, float]]
    ) -> dict[str, float] | list[dict[str, float]]:
        """Replace token ids (numbers or their digits) by their text, in one mapping of weights or in each of a list.

        Raises InputError for anything but such mappings, and for ids that are not in the vocabulary.
        """
        rows, single = mappings("lexical_weights", lexical_weights)
        named = [{self._token(i): weight for i, weight in row.items()} for row in rows]
        return named[0] if single else named

    def _token(self, token: object) -> str:
        number = int(token) if isinstance(token, str) and token.isdecimal() and len(token) < 20 else token
        return self.tokenizer.decode(whole_number("a token id", number, 0, self.manifest.architecture.vocab_size - 1))

    def _heads(self, dense: bool, sparse: bool, colbert: bool) -> Heads:
        dense, sparse = flag("return_dense", dense), flag("return_sparse", sparse)
        colbert = flag("return_colbert_vecs", colbert)
        if not (dense or sparse or colbert):
            raise InputError("nothing to compute: set return_dense, return_sparse or return_colbert_vecs")
        if (sparse or colbert) and not self.manifest.heads.sparse:
            raise InputError(
                f"{self.path} is a {self.manifest.kind} bundle without sparse and ColBERT heads; use return_dense"
            )
        return Heads(dense, sparse, colbert)

    def _limit(self, max_length: int | None) -> int:
        limit = self.manifest.max_tokens
        if max_length is None:
            return limit
        return whole_number("max_length", max_length, 3, limit)

    def _warn_of_script(self, texts: Sequence[str]) -> None:
        """Warn once of a text in a script that a pruned vocabulary has only characters of."""
        pruned = self.manifest.pruned
        if pruned is None or self._warned_of_script:
            return
        for text in texts:
            letters = [s for s in map(script, text[:_CHARACTERS_LOOKED_AT]) if s]
            foreign = [s for s in letters if s not in pruned.scripts]
            if 2 * len(foreign) > len(letters):
                self._warned_of_script = True
                warnings.warn(
                    f"{self.path} lost the words of {foreign[0]} script: such texts are split into characters and "
                    "embedded worse; use a bundle that was exported for their language",
                    stacklevel=4,  # whoever called encode()
                )
                return

    def _truncate_dim(self, dim: int | None) -> int | None:
        if dim is None:
            return None
        dim = whole_number("truncate_dim", dim, 1, self.manifest.dim)
        if dim not in (self.manifest.dim, *self.manifest.matryoshka_dims) and not self._warned_of_dim:
            self._warned_of_dim = True
            warnings.warn(
                f"{self.manifest.source.id} was not trained for truncate_dim={dim}: expect lower quality",
                stacklevel=4,  # whoever called encode()
            )
        return dim


def _texts(texts: object) -> list[str]:
    return [str.__str__(texts)] if isinstance(texts, str) else listed("texts", texts, "a str or a list of str")
