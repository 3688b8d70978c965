"""Scores of queries with documents in every view: exact, for all pairs, without an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from m3rt_kernels import maxsim, sparse_dot
from numpy.typing import NDArray

from ..embeddings import Embeddings
from ..encoder import M3Encoder, Progress
from .modes import MODES, Scores
from .pools import Task

CANDIDATES = 200  # of dense+sparse: the only documents that ColBERT scores where all pairs are too many
_MAX_COLBERT_BYTES = 1 << 32  # of the ColBERT vectors that are kept
_MAX_PRODUCTS = 2e13  # multiplications for all pairs: about two minutes on two cores
_SCORES_AT_A_TIME = 1 << 24  # of one view
_TEXTS_AT_A_TIME = 256  # whose ColBERT vectors are made for the pairs

Pairs = Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]  # for each query: documents and their scores


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedTask:
    """The embeddings of queries and documents; `pairs` hold ColBERT's scores where `corpus` has no ColBERT vectors."""

    queries: Embeddings
    corpus: Embeddings
    pairs: Pairs | None = None

    def each(self) -> Iterator[Scores]:
        """Yield the scores of each query in turn."""
        step = max(1, _SCORES_AT_A_TIME // max(1, len(self.corpus)))
        for first in range(0, len(self.queries), step):
            block = slice(first, min(first + step, len(self.queries)))
            scores = self._block(block)
            for row in range(block.stop - first):
                yield {view: values[row] for view, values in scores.items()}

    def _block(self, block: slice) -> dict[str, NDArray[np.float32]]:
        """Score a block of queries; each view gives (queries, documents)."""
        q, c = self.queries, self.corpus
        scores: dict[str, NDArray[np.float32]] = {}
        if q.dense_vecs is not None and c.dense_vecs is not None:
            scores["dense"] = q.dense_vecs[block] @ c.dense_vecs.T
        if q.sparse is not None and c.sparse is not None:
            part = q.sparse.part(block)
            scores["sparse"] = sparse_dot(
                part.indptr, part.indices, part.values, c.sparse.indptr, c.sparse.indices, c.sparse.values
            )
        if q.multi is not None and c.multi is not None:
            tokens = q.multi.part(block)
            scores["colbert"] = maxsim(tokens.vectors, c.multi.vectors, c.multi.offsets, query_offsets=tokens.offsets)
        elif self.pairs is not None:
            scores["colbert"] = np.full((block.stop - block.start, len(c)), -np.inf, np.float32)
            for row, (documents, values) in enumerate(self.pairs[block]):
                scores["colbert"][row, documents] = values
        return scores


def embed(encoder: M3Encoder, task: Task, progress: Progress) -> EmbeddedTask:
    """Embed a task's queries and documents with every head of the model."""
    heads = encoder.manifest.heads
    queries = encoder.encode_queries(task.data.queries.texts, **heads.keywords(), show_progress=progress)
    corpus_heads = replace(heads, colbert=heads.colbert and _affordable(encoder, queries, task.data.corpus.texts))
    corpus = encoder.encode_corpus(task.data.corpus.texts, **corpus_heads.keywords(), show_progress=progress)
    embedded = EmbeddedTask(queries, corpus)
    return embedded if corpus_heads == heads else _with_pairs(encoder, task, embedded, progress)


def _affordable(encoder: M3Encoder, queries: Embeddings, texts: Sequence[str]) -> bool:
    """Whether the ColBERT vectors of all texts fit into memory and their products with all queries take little time."""
    size = encoder.manifest.architecture.colbert_dim * sum(len(encoder.tokenize(text)) for text in texts)
    return 4 * size <= _MAX_COLBERT_BYTES and float(size) * int(queries.n_tokens.sum()) <= _MAX_PRODUCTS


def _with_pairs(encoder: M3Encoder, task: Task, embedded: EmbeddedTask, progress: Progress) -> EmbeddedTask:
    """Embed the best documents of dense+sparse again, this time for their ColBERT scores."""
    assert embedded.queries.multi is not None
    first = replace(embedded, queries=replace(embedded.queries, multi=None))
    mode = MODES["dense+sparse"]
    candidates = [
        np.sort(mode.rank(scores, pool, depth=CANDIDATES))
        for scores, pool in zip(first.each(), task.candidates(), strict=True)
    ]
    pairs = [(documents, np.empty(len(documents), np.float32)) for documents in candidates]
    needed = np.unique(np.concatenate(candidates))
    for part in (needed[i : i + _TEXTS_AT_A_TIME] for i in range(0, len(needed), _TEXTS_AT_A_TIME)):
        texts = [task.data.corpus.texts[document] for document in part]
        multi = encoder.encode_corpus(texts, return_dense=False, return_colbert_vecs=True, show_progress=progress).multi
        assert multi is not None
        for query, (documents, scores) in enumerate(pairs):
            present = np.isin(documents, part, assume_unique=True)
            if present.any():
                places = np.searchsorted(part, documents[present])
                vectors = embedded.queries.multi.row(query)
                scores[present] = maxsim(vectors, multi.vectors, multi.offsets, documents=places)
    return replace(embedded, pairs=pairs)
