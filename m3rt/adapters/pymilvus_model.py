"""pymilvus' model.hybrid.BGEM3EmbeddingFunction, over a bundle."""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..bundle import DEFAULT
from ..embeddings import Embeddings
from ..encoder import M3Encoder
from ..errors import InputError
from ..host.extras import need
from ..values.arguments import flag


class BGEM3EmbeddingFunction:
    """Drop-in for pymilvus-model 0.3's class of this name: its signature, its outputs.

    model_name: a bundle's directory, or an M3Encoder. Without effect, since the bundle fixes the precision and m3rt
    batches by tokens: batch_size, use_fp16. kwargs: M3Encoder's others. sparse is a scipy.sparse.csr_array, n rows wide
    as the vocabulary; a text without weights has an empty row, which Milvus refuses. Raises as M3Encoder, and
    InputError for normalize_embeddings=False.
    """

    def __init__(
        self,
        model_name: str | Path | M3Encoder = DEFAULT,
        batch_size: int = 16,
        device: str = "auto",
        normalize_embeddings: bool = True,
        use_fp16: bool = True,
        return_dense: bool = True,
        return_sparse: bool = True,
        return_colbert_vecs: bool = False,
        **kwargs: Any,
    ) -> None:
        need("milvus", "scipy", purpose="BGEM3EmbeddingFunction")
        if not flag("normalize_embeddings", normalize_embeddings):
            raise InputError("normalize_embeddings is False, but a bundle's dense vectors are always normalised")
        self.model = model_name if isinstance(model_name, M3Encoder) else M3Encoder(model_name, device=device, **kwargs)
        self._options: dict[str, Any] = {
            "return_dense": return_dense,
            "return_sparse": return_sparse,
            "return_colbert_vecs": return_colbert_vecs,
        }

    @property
    def dim(self) -> dict[str, int]:
        """The width of each view."""
        m = self.model.manifest
        return {
            "dense": m.dim,
            "sparse": m.architecture.vocab_size,
            "colbert_vecs": m.architecture.colbert_dim or m.dim,
        }

    def __call__(self, texts: list[str]) -> dict[str, Any]:
        """{"dense": [(dim,)], "sparse": csr_array, "colbert_vecs": [(tokens, dim)]}, of what is to be returned."""
        return self._outputs(self.model.encode(texts, **self._options))

    def encode_documents(self, documents: list[str]) -> dict[str, Any]:
        """The same, with the bundle's prompt for passages."""
        return self._outputs(self.model.encode_corpus(documents, **self._options))

    def encode_queries(self, queries: list[str]) -> dict[str, Any]:
        """The same, with the bundle's prompt for queries."""
        return self._outputs(self.model.encode_queries(queries, **self._options))

    def _outputs(self, out: Embeddings) -> dict[str, Any]:
        from scipy.sparse import csr_array

        found: dict[str, Any] = {}
        if out.dense_vecs is not None:
            found["dense"] = list(out.dense_vecs)
        if out.sparse is not None:
            parts = (out.sparse.values, out.sparse.indices, out.sparse.indptr)
            found["sparse"] = csr_array(parts, shape=(len(out), self.dim["sparse"]))
        if out.multi is not None:
            found["colbert_vecs"] = out.colbert_vecs
        return found
