"""fastembed's three classes of embeddings, over a bundle: iterators in the shapes that Qdrant's examples use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..bundle import DEFAULT
from ..bundle.heads import Heads
from ..embeddings import Embeddings
from ..encoder import M3Encoder


class SparseEmbedding(NamedTuple):
    """Weights and token ids of a text."""

    values: NDArray[np.float32]
    indices: NDArray[np.int32]

    def as_object(self) -> dict[str, NDArray[Any]]:
        """What Qdrant's SparseVector takes."""
        return self._asdict()


class _Model:
    """model_name: a bundle's directory, by default m3-tiny, or an M3Encoder; options: M3Encoder's."""

    _heads = Heads()

    def __init__(self, model_name: str | Path | M3Encoder = DEFAULT, **options: Any) -> None:
        self.encoder = model_name if isinstance(model_name, M3Encoder) else M3Encoder(model_name, **options)

    def embed(self, documents: str | Iterable[str]) -> Iterator[Any]:
        """What each text is embedded as, in order, in bounded memory."""
        texts = [documents] if isinstance(documents, str) else documents
        for out in self.encoder.stream(texts, **self._heads.keywords()):
            yield from self._each(out)

    def passage_embed(self, texts: Iterable[str]) -> Iterator[Any]:
        """The same, with the bundle's prompt for passages."""
        yield from self._each(self.encoder.encode_corpus(texts, **self._heads.keywords()))

    def query_embed(self, query: str | Iterable[str]) -> Iterator[Any]:
        """The same, with the bundle's prompt for queries."""
        yield from self._each(self.encoder.encode_queries(query, **self._heads.keywords()))

    def _each(self, out: Embeddings) -> Iterable[Any]:
        return () if out.dense_vecs is None else out.dense_vecs


class TextEmbedding(_Model):
    """Dense vectors, (dim,) float32."""


class SparseTextEmbedding(_Model):
    """Lexical weights, as SparseEmbedding."""

    _heads = Heads(dense=False, sparse=True)

    def _each(self, out: Embeddings) -> Iterable[Any]:
        rows = (out.sparse.row(i) for i in range(len(out))) if out.sparse is not None else ()
        return (SparseEmbedding(weights, tokens) for tokens, weights in rows)


class LateInteractionTextEmbedding(_Model):
    """ColBERT vectors, (tokens, dim) float32."""

    _heads = Heads(dense=False, colbert=True)

    def _each(self, out: Embeddings) -> Iterable[Any]:
        return out.colbert_vecs or ()
