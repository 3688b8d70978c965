"""Scores of queries with documents in every view: exact, of all pairs, without an index."""

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

CANDIDATES = 200  # the best of dense+sparse, which ColBERT scores alone where all pairs are too many
_LARGEST = 1 << 32  # bytes of ColBERT vectors that are kept
_WORK = 2e13  # multiplications of all pairs, about two minutes of two cores
_BLOCK = 1 << 24  # scores of one view at a time
_PART = 256  # texts whose ColBERT vectors are made at a time

Pairs = Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]  # of each query: documents and their scores


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Queries and documents as embeddings. ColBERT's scores are of all pairs, of `pairs` alone, or there are none."""

    queries: Embeddings
    corpus: Embeddings
    pairs: Pairs | None = None

    def each(self) -> Iterator[Scores]:
        """The scores of each query in turn."""
        step = max(1, _BLOCK // max(1, len(self.corpus)))
        for first in range(0, len(self.queries), step):
            block = slice(first, min(first + step, len(self.queries)))
            scores = self._block(block)
            for row in range(block.stop - first):
                yield {view: values[row] for view, values in scores.items()}

    def _block(self, block: slice) -> dict[str, NDArray[np.float32]]:
        """Scores of a block of queries by view, (queries, documents) each."""
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


def embed(encoder: M3Encoder, task: Task, progress: Progress) -> Views:
    """Embed a task's queries and documents with every head of the model."""
    heads = encoder.manifest.heads
    queries = encoder.encode_queries(task.data.queries.texts, **heads.keywords(), show_progress=progress)
    kept = replace(heads, colbert=heads.colbert and _few(encoder, queries, task.data.corpus.texts))
    corpus = encoder.encode_corpus(task.data.corpus.texts, **kept.keywords(), show_progress=progress)
    views = Views(queries, corpus)
    return views if kept == heads else _with_pairs(encoder, task, views, progress)


def _few(encoder: M3Encoder, queries: Embeddings, texts: Sequence[str]) -> bool:
    """Whether the ColBERT vectors of all texts fit, and their products with all queries take little time."""
    size = encoder.manifest.architecture.colbert_dim * sum(len(encoder.tokenize(text)) for text in texts)
    return 4 * size <= _LARGEST and float(size) * int(queries.n_tokens.sum()) <= _WORK


def _with_pairs(encoder: M3Encoder, task: Task, views: Views, progress: Progress) -> Views:
    """Embed the best documents of dense+sparse once more, for their ColBERT scores."""
    assert views.queries.multi is not None
    first = replace(views, queries=replace(views.queries, multi=None))
    mode = MODES["dense+sparse"]
    wanted = [
        np.sort(mode.rank(scores, pool, depth=CANDIDATES))
        for scores, pool in zip(first.each(), task.candidates(), strict=True)
    ]
    pairs = [(documents, np.empty(len(documents), np.float32)) for documents in wanted]
    needed = np.unique(np.concatenate(wanted))
    for part in (needed[i : i + _PART] for i in range(0, len(needed), _PART)):
        texts = [task.data.corpus.texts[document] for document in part]
        multi = encoder.encode_corpus(texts, return_dense=False, return_colbert_vecs=True, show_progress=progress).multi
        assert multi is not None
        for query, (documents, scores) in enumerate(pairs):
            mine = np.isin(documents, part, assume_unique=True)
            if mine.any():
                places = np.searchsorted(part, documents[mine])
                scores[mine] = maxsim(views.queries.multi.row(query), multi.vectors, multi.offsets, documents=places)
    return replace(views, pairs=pairs)
