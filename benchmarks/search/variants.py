"""A corpus of any size around real embeddings: documents are variants of texts that m3-tiny embedded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3rt import Embeddings, M3Encoder, SparseVectors

from ..common import draw_texts

DIM = 1024
MIXED_TEXTS = 4  # whose lexical weights a document has, so that it has about as many as a passage
DIFFERENCE = 0.4  # of two texts' vectors is added to a variant's
BATCH_DOCUMENTS = 50_000
_BASE = 1 << 32  # above any document's number times token id


class Variants:
    """Documents and queries, the same ones for the same file, and exact scores over float32 vectors.

    Of `texts` real texts, the first `queries` are the queries. Document i is the vector of a text plus 0.4 times the
    difference of two others', a direction in which real texts differ; the first documents are the texts themselves.
    An orthonormal map brings m3-tiny's 768 dimensions to 1,024, which changes no dot product. Its lexical weights are
    the largest of its text's and of three others'.
    """

    def __init__(self, encoded: Path, documents: int, queries: int) -> None:
        with np.load(encoded) as arrays:
            self._small = arrays["dense"]
            self._sparse = SparseVectors(arrays["indptr"], arrays["indices"], arrays["values"])
        self.documents, self.queries = documents, queries
        self.texts = len(self._small) - queries

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        normal = np.random.default_rng(0).standard_normal((DIM, self._small.shape[1]))
        return self._small.astype(np.float32) @ np.ascontiguousarray(np.linalg.qr(normal)[0].T, np.float32)

    def query(self, i: int) -> Embeddings:
        """Text i as a query, with its lexical weights alone."""
        ids, weights = self._sparse.row(i)
        return _embeddings(self._vectors[i : i + 1], SparseVectors(np.array([0, len(ids)]), ids, weights))

    def batches(self, done: int = 0) -> Iterator[tuple[int, Embeddings]]:
        """Yield batches of the documents from number `done` on, each with the number of its first document."""
        for first in range(done, self.documents, BATCH_DOCUMENTS):
            draw = np.random.default_rng([1, first])
            numbers = np.arange(first, min(first + BATCH_DOCUMENTS, self.documents))
            others = self.queries + draw.integers(0, self.texts, (MIXED_TEXTS - 1, len(numbers)))
            texts = self.queries + numbers % self.texts
            difference = self._vectors[others[0]] - self._vectors[others[1]]
            vectors = (
                self._vectors[texts]
                + np.where(numbers < self.texts, 0, np.float32(DIFFERENCE)).astype(np.float32)[:, None] * difference
            )
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            yield first, _embeddings(vectors, self._mixed([texts, *others]))

    def _mixed(self, texts: list[NDArray[np.int64]]) -> SparseVectors:
        """For each column of `texts`, the largest weight of each token in these texts."""
        keys, values = [], []
        for rows in texts:
            lengths = np.diff(self._sparse.indptr)[rows]
            starts = self._sparse.indptr[rows]
            places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
            keys.append(np.repeat(np.arange(len(rows)), lengths) * _BASE + self._sparse.indices[places])
            values.append(self._sparse.values[places])
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        distinct, starts = np.unique(key[order], return_index=True)
        weights = np.maximum.reduceat(np.concatenate(values)[order], starts)
        indptr = np.searchsorted(distinct, np.arange(len(texts[0]) + 1) * _BASE)
        return SparseVectors(indptr, (distinct % _BASE).astype(np.int32), weights)

    def exact(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Dense and lexical scores of every document for every query, (queries, documents) each."""
        dense, sparse = np.zeros((2, self.queries, self.documents), np.float32)
        for first, out in self.batches():
            assert out.sparse is not None
            assert out.dense_vecs is not None
            part = slice(first, first + len(out))
            dense[:, part] = self._vectors[: self.queries] @ out.dense_vecs.T
            order = np.argsort(out.sparse.indices, kind="stable")
            ids, weights = out.sparse.indices[order], out.sparse.values[order]
            owners = np.repeat(np.arange(len(out)), np.diff(out.sparse.indptr))[order]
            for i, scores in enumerate(sparse[:, part]):
                for token, weight in zip(*self._sparse.row(i), strict=True):
                    postings = slice(*np.searchsorted(ids, [token, token + 1]))
                    scores[owners[postings]] += weight * weights[postings]
        return dense, sparse


def encode_texts(texts: Path, count: int, encoded: Path) -> None:
    """Embed `count` of the texts by m3-tiny and keep them in an .npz file."""
    encoder = M3Encoder("m3-tiny")
    out = encoder.encode(draw_texts(texts, count), return_sparse=True)
    assert out.dense_vecs is not None
    assert out.sparse is not None
    np.savez(
        encoded, dense=out.dense_vecs.astype(np.float16), indptr=out.sparse.indptr, indices=out.sparse.indices,
        values=out.sparse.values,
    )  # fmt: skip


def _embeddings(dense: NDArray[np.float32], sparse: SparseVectors) -> Embeddings:
    n = len(dense)
    return Embeddings(dense, sparse, None, np.full(n, 3), np.zeros(n, np.bool_))
