"""M3Encoder turns texts into embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from .batching.collect import Collector
from .batching.plan import plan
from .bundle import DEFAULT, Bundle, open_bundle, portable
from .bundle.manifest import Manifest
from .embeddings import Embeddings
from .engines import Engine, Heads, checked, load_engine
from .engines.profile import choose
from .errors import EngineError, InputError
from .scoring import check_weights, mappings, pair_scores
from .text.tokenizer import TokenIds, Tokenizer
from .values.arguments import flag, whole_number
from .values.listing import items, listed
from .values.shown import kind
from .values.texts import pairs_of

Progress = Callable[[int, int], object]  # texts and tokens of a finished forward pass

STREAM_TEXTS = 4096  # that stream() encodes at a time: enough to group by length, in little memory


class M3Encoder:
    """Encodes texts with a bundle in an engine; one instance may be called from many threads.

    model: directory of a bundle, by default m3-tiny, the small model that comes with the package. device: "auto", "cpu"
    or "cuda". engine: "auto" or an engine's name. threads: CPU threads, by default as many as affinity and cgroup
    allow. batch_tokens: padded tokens of a forward pass, by default the engine's choice.
    Raises BundleError, EngineMissing, DeviceMissing or InputError.

    Read-only attributes: bundle (the files on disk) with its manifest and path, tokenizer, engine, batch_tokens.

    >>> model = M3Encoder("bge-m3-int8")                                    # doctest: +SKIP
    >>> model.encode(["What is BGE M3?"], return_sparse=True).dense_vecs    # doctest: +SKIP
    """

    _reopen: Callable[[], M3Encoder] | None  # opens this encoder in another process; None for with_engine()'s

    def __init__(
        self,
        model: str | Path = DEFAULT,
        *,
        device: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if batch_tokens is not None:
            batch_tokens = whole_number("batch_tokens", batch_tokens, 1, 1 << 30)
        bundle = open_bundle(model)
        tokenizer = Tokenizer.of(bundle)
        choice = choose(bundle, *checked(engine, device, threads))
        self._assemble(bundle, load_engine(bundle, **choice.options), tokenizer, batch_tokens)
        options: dict[str, Any] = {"device": device, "engine": engine, "threads": threads, "batch_tokens": batch_tokens}
        self._reopen = partial(type(self), portable(model), **options)

    @classmethod
    def with_engine(cls, bundle: Bundle, engine: Engine, *, batch_tokens: int | None = None) -> M3Encoder:
        """Make an encoder around an engine that the caller has opened."""
        if not isinstance(bundle, Bundle):
            raise InputError(f"bundle is a {kind(bundle)}, expected what open_bundle() returns")
        if batch_tokens is not None:
            batch_tokens = whole_number("batch_tokens", batch_tokens, 1, 1 << 30)
        self = cls.__new__(cls)
        self._assemble(bundle, engine, Tokenizer.of(bundle), batch_tokens)
        return self

    def _assemble(self, bundle: Bundle, engine: Engine, tokenizer: Tokenizer, batch_tokens: int | None) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.path = bundle.path
        self.engine = engine
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens or engine.batch_tokens
        self._warned = False
        self._reopen = None

    def __reduce__(self) -> tuple[Callable[[], M3Encoder], tuple[()]]:
        """Pickle the arguments, which open the encoder again. Raises InputError for an encoder of with_engine()."""
        if self._reopen is None:
            raise InputError(
                "this encoder has an engine of its own, which cannot be pickled or copied; send the bundle's path "
                f"{str(self.path)!r} instead and make the encoder there"
            )
        return self._reopen, ()

    @property
    def device(self) -> str:
        """Return the device of the engine: "cpu" or "cuda"."""
        return self.engine.device

    def __repr__(self) -> str:
        m = self.manifest
        return (
            f"M3Encoder({str(self.path)!r}: {m.source.id}, {m.kind}, {m.precision}, dim {m.dim}, "
            f"max_tokens {m.max_tokens}, {self.engine.name} on {self.engine.device})"
        )

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        return_dense: bool = True,
        return_sparse: bool = False,
        return_colbert_vecs: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        show_progress: bool | Progress = False,
    ) -> Embeddings:
        """Encode n texts (a str counts as one) into Embeddings in input order.

        texts: a list, or anything that holds str in an order: an array, a column of a table, a generator. max_length:
        tokens kept of each text, <s> and </s> counted; the default and the limit is the bundle's max_tokens.
        truncate_dim: keep so many first components of dense and ColBERT vectors and normalise again (Matryoshka).
        show_progress: show a bar on stderr, or call a function with the number of texts and tokens of each pass.
        Raises InputError for unusable texts or options, EngineError when inference fails or its output is not finite.
        """
        heads = self._heads(return_dense, return_sparse, return_colbert_vecs)
        limit = self._limit(max_length)
        truncate_dim = self._truncate_dim(truncate_dim)
        tokens = self.tokenizer.encode(_texts(texts), limit)
        result = Collector(self.manifest, tokens, heads)
        with _progress(tokens, show_progress) as advance:
            for rows in plan(tokens.lengths, self.batch_tokens, self.engine.pass_tokens):
                ids, mask = tokens.padded(rows, self.manifest.special_tokens.pad)
                result.add(rows, mask, self.engine.run(ids, mask, heads))
                advance(len(rows), int(mask.sum()))
        return result.embeddings(truncate_dim)

    def tokenize(self, text: str, *, max_length: int | None = None) -> list[int]:
        """Return the token ids that encode() gives the model for one text, <s> and </s> included."""
        ids: list[int] = self.tokenizer.encode([text], self._limit(max_length)).ids.tolist()
        return ids

    def encode_queries(self, queries: str | Iterable[str], **options: Any) -> Embeddings:
        """Encode with the bundle's query prompt in front of every text. Takes encode()'s options."""
        return self.encode(self._prompted("query", _texts(queries)), **options)

    def encode_corpus(self, corpus: str | Iterable[str], **options: Any) -> Embeddings:
        """Encode with the bundle's passage prompt in front of every text. Takes encode()'s options."""
        return self.encode(self._prompted("passage", _texts(corpus)), **options)

    def stream(self, texts: Iterable[str], *, chunk_size: int = STREAM_TEXTS, **options: Any) -> Iterator[Embeddings]:
        """Encode any number of texts in bounded memory: yield Embeddings of `chunk_size` texts at a time, in order.

        Takes encode()'s options. An error's message says how many texts came before it.
        """
        chunk_size = whole_number("chunk_size", chunk_size, 1, 1 << 30)
        source, done = items("texts", texts, "an iterable of str"), 0
        while chunk := list(islice(source, chunk_size)):
            try:
                yield self.encode(chunk, **options)
            except (InputError, EngineError) as error:
                raise type(error)(f"after {done} texts: {error}") from None
            done += len(chunk)

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

    def _prompted(self, role: str, texts: list[str]) -> list[str]:
        prompt = self.manifest.prompts.get(role, "")
        # An item that is no str keeps its place, so that encode() can name its index.
        return [prompt + t if isinstance(t, str) else t for t in texts]

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

    def _truncate_dim(self, dim: int | None) -> int | None:
        if dim is None:
            return None
        dim = whole_number("truncate_dim", dim, 1, self.manifest.dim)
        if dim not in (self.manifest.dim, *self.manifest.matryoshka_dims) and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.manifest.source.id} was not trained for truncate_dim={dim}: expect lower quality",
                stacklevel=3,
            )
        return dim


def _texts(texts: object) -> list[str]:
    return [str.__str__(texts)] if isinstance(texts, str) else listed("texts", texts, "a str or a list of str")


@contextmanager
def _progress(tokens: TokenIds, show: bool | Progress | None) -> Iterator[Progress]:
    if callable(show):
        yield show
    elif show is not None and flag("show_progress", show):
        from tqdm import tqdm

        with tqdm(total=len(tokens.ids), unit="tok", unit_scale=True, desc="encode") as bar:
            yield lambda texts, tokens: bar.update(tokens)
    else:
        yield lambda texts, tokens: None
