"""Puts the outputs of forward passes, which run by length, back in input order."""

from __future__ import annotations

import numpy as np
from m3rt_kernels import quantize_int8, scatter_max
from numpy.typing import NDArray

from ..bundle.heads import Heads
from ..bundle.manifest import Manifest
from ..embeddings import Embeddings, MultiVectors, SparseVectors
from ..engines import Outputs
from ..errors import EngineError
from ..quantization import quantize_embeddings
from ..text.tokenizer import TokenIds
from .work import VectorFormat


class Collector:
    """Gathers the embeddings of all texts, pass by pass."""

    def __init__(self, manifest: Manifest, tokens: TokenIds, heads: Heads) -> None:
        n = len(tokens.truncated)
        self._tokens = tokens
        self._weightless = manifest.special_tokens.unused
        self._dense = np.empty((n, manifest.dim), np.float32) if heads.dense else None
        self._weights = np.empty(len(tokens.ids), np.float32) if heads.sparse else None
        self._offsets = tokens.offsets - np.arange(n + 1)  # of ColBERT vectors: <s> has none
        dim = manifest.architecture.colbert_dim
        self._colbert = np.empty((int(self._offsets[-1]), dim), np.float32) if heads.colbert else None

    def add(self, rows: NDArray[np.int64], mask: NDArray[np.int64], out: Outputs) -> None:
        """Copy the outputs for texts `rows`. Raises EngineError when one is not finite."""
        real = mask.astype(np.bool_)
        if out.dense is not None:
            _check_finite("dense", out.dense[:, None], real[:, :1], rows)
        if out.token_weights is not None:
            _check_finite("sparse", out.token_weights[..., None], real, rows)
        if out.colbert is not None:
            _check_finite("colbert", out.colbert, real[:, 1:], rows)
        if self._dense is not None and out.dense is not None:
            self._dense[rows] = out.dense
        if self._weights is not None and out.token_weights is not None:
            for row, i in enumerate(rows):
                start, end = self._tokens.offsets[i : i + 2]
                self._weights[start:end] = out.token_weights[row, : end - start]
        if self._colbert is not None and out.colbert is not None:
            for row, i in enumerate(rows):
                start, end = self._offsets[i : i + 2]
                self._colbert[start:end] = out.colbert[row, : end - start]

    def embeddings(self, form: VectorFormat) -> Embeddings:
        """Return the embeddings of all texts; every text must have been added."""
        tokens = self._tokens
        sparse = None
        if self._weights is not None:
            sparse = SparseVectors(*scatter_max(tokens.ids, self._weights, tokens.offsets, self._weightless))
        multi = None
        if self._colbert is not None:
            vectors = truncated_to(self._colbert, form.truncate_dim)
            codes = quantize_int8(vectors) if form.colbert_precision == "int8" else (vectors, None)
            multi = MultiVectors(codes[0], self._offsets, codes[1])
        dense = None if self._dense is None else truncated_to(self._dense, form.truncate_dim)
        if dense is not None and form.dense_precision != "float32":
            dense = quantize_embeddings(dense, form.dense_precision, form.dense_ranges)
        return Embeddings(dense, sparse, multi, tokens.lengths, tokens.truncated)


def truncated_to(vectors: NDArray[np.float32], dim: int | None) -> NDArray[np.float32]:
    """Keep the first `dim` components of each vector and normalise it again."""
    if dim is None or dim >= vectors.shape[1]:
        return vectors
    cut = vectors[:, :dim]
    norms = np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(cut / norms, np.float32)


def _check_finite(name: str, array: NDArray[np.float32], real: NDArray[np.bool_], rows: NDArray[np.int64]) -> None:
    """Raise EngineError when an output (b, t, dim) of texts `rows` is not finite at a `real` (b, t) token."""
    finite = np.isfinite(array)
    if finite.all():
        return
    bad = rows[(~finite.all(axis=2) & real).any(axis=1)]
    if len(bad):  # an engine may fill padding with anything
        raise EngineError(f"the {name} output is not finite for text {some(bad)}; nothing returned")


def some(rows: NDArray[np.int64]) -> str:
    """The numbers of a few texts, for a message."""
    shown = ", ".join(map(str, rows[:8]))
    return shown + (f", ... ({len(rows)} in all)" if len(rows) > 8 else "")
