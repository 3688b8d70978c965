"""The synthetic corpus of hybrid.py, and exact scores over its float32 vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from m3rt import Embeddings, MultiVectors, SparseVectors

DIM, TERMS, TOKENS, QUERY_TOKENS = 1024, 60, 64, 32
VOCABULARY = 250_002  # XLM-R's
POOL_VECTORS = 1 << 14  # token vectors; each document is made of some of them
BATCH_DOCUMENTS = 2000
FLOAT32_BYTES = 4 * DIM * (1 + TOKENS) + 8 * TERMS  # of a document

Scores = NDArray[np.float64]  # (queries, documents)


@dataclass(frozen=True)
class Corpus:
    """Documents and queries, the same ones for the same numbers.

    A document has a random dense vector, 60 distinct ids drawn by Zipf's law with random weights, and 64 token vectors
    of a pool. A query is made from a document: its dense vector plus noise, 8 of its terms, 16 of its token vectors and
    16 others.
    """

    documents: int
    queries: int

    @cached_property
    def pool(self) -> NDArray[np.float32]:
        return _unit(np.random.default_rng(0).standard_normal((POOL_VECTORS, DIM), np.float32))

    def tokens(self, first: int) -> NDArray[np.int64]:
        """Return the rows of the pool, (n, TOKENS), that the documents of a batch have."""
        return np.random.default_rng([1, first]).integers(0, POOL_VECTORS, (self._size(first), TOKENS))

    @cache  # noqa: B019 - a process has one corpus
    def texts(self, first: int) -> tuple[NDArray[np.float32], SparseVectors]:
        """Make dense vectors and lexical weights of the batch that begins with document `first`."""
        random = np.random.default_rng([2, first])
        dense = _unit(random.standard_normal((self._size(first), DIM), np.float32))
        return dense, _sparse([_terms(random) for _ in range(len(dense))])

    def batches(self, done: int = 0) -> Iterator[tuple[int, Embeddings]]:
        """Yield batches of the documents from number `done` on, each with the number of its first document."""
        for first in range(done, self.documents, BATCH_DOCUMENTS):
            dense, sparse = self.texts(first)
            yield first, _embeddings(dense, sparse, self.pool[self.tokens(first).ravel()], TOKENS)

    def query(self, i: int) -> Embeddings:
        random = np.random.default_rng([3, i])
        first, row = divmod(int(random.integers(self.documents)), BATCH_DOCUMENTS)
        dense, sparse = self.texts(first * BATCH_DOCUMENTS)
        noisy = _unit(dense[row] + 1.5 * _unit(random.standard_normal((1, DIM), np.float32)))
        ids, weights = sparse.row(row)
        chosen = np.sort(random.choice(TERMS, 8, replace=False))
        shared = self.tokens(first * BATCH_DOCUMENTS)[row, : QUERY_TOKENS // 2]
        tokens = np.concatenate([shared, random.integers(0, POOL_VECTORS, QUERY_TOKENS - len(shared))])
        return _embeddings(noisy, _sparse([(ids[chosen], weights[chosen])]), self.pool[tokens], QUERY_TOKENS)

    def scores(self, queries: Sequence[Embeddings]) -> tuple[Scores, Scores]:
        """Return exact dense and sparse scores, (queries, documents) each."""
        dense, sparse = np.zeros((2, len(queries), self.documents))
        query_vectors = np.concatenate([q.dense_vecs for q in queries if q.dense_vecs is not None])
        for first in range(0, self.documents, BATCH_DOCUMENTS):
            vectors, terms = self.texts(first)
            part = slice(first, first + len(vectors))
            dense[:, part] = query_vectors @ vectors.T
            for i, query in enumerate(queries):
                assert query.sparse is not None
                weights = np.zeros(VOCABULARY, np.float32)
                weights[query.sparse.indices] = query.sparse.values
                sparse[i, part] = np.add.reduceat(weights[terms.indices] * terms.values, terms.indptr[:-1])
        return dense, sparse

    def maxsim(self, query: Embeddings, documents: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the exact MaxSim of a query with some documents."""
        assert query.multi is not None
        similarity = query.multi.vectors @ self.pool.T
        rows = [self.tokens(int(doc) // BATCH_DOCUMENTS * BATCH_DOCUMENTS)[doc % BATCH_DOCUMENTS] for doc in documents]
        return np.array([similarity[:, tokens].max(axis=1).mean() for tokens in rows])

    def _size(self, first: int) -> int:
        return min(BATCH_DOCUMENTS, self.documents - first)


def _terms(random: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    ids = np.unique((VOCABULARY ** random.random(4 * TERMS)).astype(np.int32))  # log-uniform: Zipf's law
    ids = np.sort(random.choice(ids, TERMS, replace=False))
    return ids, random.random(TERMS, np.float32) * 0.3 + 0.01


def _sparse(rows: Sequence[tuple[NDArray[np.int32], NDArray[np.float32]]]) -> SparseVectors:
    indptr = np.cumsum([0, *(len(ids) for ids, _ in rows)], dtype=np.int64)
    return SparseVectors(indptr, np.concatenate([ids for ids, _ in rows]), np.concatenate([w for _, w in rows]))


def _embeddings(
    dense: NDArray[np.float32], sparse: SparseVectors, tokens: NDArray[np.float32], each: int
) -> Embeddings:
    n = len(dense)
    multi = MultiVectors(tokens, np.arange(n + 1, dtype=np.int64) * each)
    return Embeddings(dense, sparse, multi, np.full(n, each + 1), np.zeros(n, np.bool_))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
