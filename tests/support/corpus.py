"""Random documents with embeddings, and what a search over them must find, by plain loops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3rt import Embeddings, MultiVectors, SparseVectors

DIM = 16
VOCABULARY = 40


@dataclass(frozen=True, slots=True)
class Document:
    """One document as arrays of its own: dense (DIM,), terms {id: weight}, colbert (tokens, DIM)."""

    dense: np.ndarray[Any, Any]
    terms: Mapping[int, float]
    colbert: np.ndarray[Any, Any]


def documents(n: int, seed: int = 0) -> list[Document]:
    """n documents of 1 to 6 tokens; some share terms, some have none."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        tokens = int(random.integers(1, 7))
        ids = random.choice(VOCABULARY, int(random.integers(0, 6)), replace=False)
        terms = {int(i): float(np.float32(random.uniform(0.1, 1))) for i in sorted(ids)}
        found.append(Document(_unit(random.normal(size=DIM)), terms, _unit(random.normal(size=(tokens, DIM)))))
    return found


def embeddings(docs: Sequence[Document]) -> Embeddings:
    """The documents as encode() would give them."""
    sparse = SparseVectors(
        np.cumsum([0, *(len(d.terms) for d in docs)], dtype=np.int64),
        np.array([i for d in docs for i in d.terms], np.int32),
        np.array([w for d in docs for w in d.terms.values()], np.float32),
    )
    lengths = [len(d.colbert) for d in docs]
    multi = MultiVectors(
        np.concatenate([np.zeros((0, DIM), np.float32), *(d.colbert for d in docs)]),
        np.cumsum([0, *lengths], dtype=np.int64),
    )
    dense = np.array([d.dense for d in docs], np.float32).reshape(len(docs), DIM)
    return Embeddings(dense, sparse, multi, np.array(lengths, np.int64) + 1, np.zeros(len(docs), np.bool_))


def scores(query: Document, doc: Document) -> dict[str, float]:
    """The three scores of a document, from vectors as int8 codes with a scale hold them."""
    best = (query.colbert.astype(np.float64) @ rounded(doc.colbert).T).max(axis=1)
    return {
        "dense": float(query.dense.astype(np.float64) @ rounded(doc.dense[None])[0]),
        "sparse": sum(weight * doc.terms.get(term, 0.0) for term, weight in query.terms.items()),
        "colbert": float(best.mean()),
    }


def rounded(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows rounded to 127 steps of their largest component."""
    scale = np.abs(vectors).max(axis=1, keepdims=True).astype(np.float64) / 127
    return np.rint(vectors / scale) * scale


def _unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)
