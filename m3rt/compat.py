"""FlagEmbedding's BGEM3FlagModel on a m3rt bundle: the same calls, the same outputs, no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embeddings import Embeddings
from .encoder import M3Encoder
from .errors import InputError
from .scoring import colbert_score, lexical_matching_score

Texts = str | Sequence[str]


class BGEM3FlagModel:
    """Drop-in for FlagEmbedding 1.4.2's class of this name, for the arguments listed here.

    model_name_or_path: directory of a bundle. use_fp16, use_bf16 and batch_size are accepted and have no
    effect: the bundle fixes the precision, and m3rt batches by tokens. devices: None, "cpu" or "cuda".
    query_max_length and passage_max_length default to 512 as in FlagEmbedding.
    Raises what M3Encoder raises; InputError for normalize_embeddings=False, which no bundle offers.
    """

    def __init__(
        self,
        model_name_or_path: str | Path,
        normalize_embeddings: bool = True,
        use_fp16: bool = True,
        use_bf16: bool = False,
        query_instruction_for_retrieval: str | None = None,
        query_instruction_format: str = "{}{}",
        devices: str | Sequence[str] | None = None,
        batch_size: int = 256,
        query_max_length: int = 512,
        passage_max_length: int = 512,
        return_dense: bool = True,
        return_sparse: bool = False,
        return_colbert_vecs: bool = False,
        truncate_dim: int | None = None,
        threads: int | None = None,
    ) -> None:
        if not normalize_embeddings:
            raise InputError("normalize_embeddings is False, but a bundle's dense vectors are always normalised")
        self._model = M3Encoder(model_name_or_path, device=_device(devices), threads=threads)
        self._instruction = query_instruction_for_retrieval
        self._format = query_instruction_format.replace("\\n", "\n")
        self._limits = {"query": query_max_length, "passage": passage_max_length}
        self._heads = (return_dense, return_sparse, return_colbert_vecs)
        self._truncate_dim = truncate_dim

    def encode(
        self,
        sentences: Texts,
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """dense_vecs (n, dim), lexical_weights and colbert_vecs by text, or None; unwrapped for a single str.

        Other keywords, such as convert_to_numpy, are accepted and have no effect.
        """
        out = self._encode(sentences, max_length, "passage", return_dense, return_sparse, return_colbert_vecs)
        columns = {
            "dense_vecs": out.dense_vecs,
            "lexical_weights": _by_name(out),
            "colbert_vecs": out.colbert_vecs,
        }
        if isinstance(sentences, str):
            return {name: None if column is None else column[0] for name, column in columns.items()}
        return columns

    def encode_queries(
        self,
        queries: Texts,
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """encode() with the query instruction and length."""
        if self._instruction is not None:
            queries = self._instructed(queries, self._instruction)
        length = max_length or self._limits["query"]
        return self.encode(queries, batch_size, length, return_dense, return_sparse, return_colbert_vecs)

    def encode_corpus(
        self,
        corpus: Texts,
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """encode() with the passage length, which is its default."""
        return self.encode(corpus, batch_size, max_length, return_dense, return_sparse, return_colbert_vecs)

    def compute_score(
        self,
        sentence_pairs: Sequence[tuple[str, str]] | tuple[str, str],
        batch_size: int | None = None,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        weights_for_different_modes: Sequence[float] | None = None,
    ) -> dict[str, Any] | list[Any]:
        """The five scores of each pair; one float each for a single pair, [] for none."""
        if not len(sentence_pairs):
            return []
        return self._model.compute_score(
            sentence_pairs,
            max_query_length=self._limit(max_query_length, "query"),
            max_passage_length=self._limit(max_passage_length, "passage"),
            weights_for_different_modes=weights_for_different_modes,
        )

    def convert_id_to_token(self, lexical_weights: Any) -> Any:
        """Token ids to text; a list of one mapping is unwrapped, as in FlagEmbedding."""
        rows = [lexical_weights] if isinstance(lexical_weights, Mapping) else lexical_weights
        named = self._model.convert_id_to_token(rows)
        return named[0] if isinstance(named, list) and len(named) == 1 else named

    def compute_lexical_matching_score(self, lexical_weights_1: Any, lexical_weights_2: Any) -> Any:
        """lexical_matching_score()."""
        return lexical_matching_score(lexical_weights_1, lexical_weights_2)

    def colbert_score(self, q_reps: NDArray[np.float32], p_reps: NDArray[np.float32]) -> np.float32:
        """colbert_score(), a numpy scalar where FlagEmbedding has a torch one."""
        return np.float32(colbert_score(q_reps, p_reps))

    def _encode(self, texts: Texts, max_length: int | None, role: str, *asked: bool | None) -> Embeddings:
        dense, sparse, colbert = (default if a is None else a for a, default in zip(asked, self._heads, strict=True))
        return self._model.encode(
            texts,
            return_dense=dense,
            return_sparse=sparse,
            return_colbert_vecs=colbert,
            max_length=self._limit(max_length, role),
            truncate_dim=self._truncate_dim,
        )

    def _limit(self, max_length: int | None, role: str) -> int:
        # The default of 512 may exceed a model's positions, where FlagEmbedding fails.
        return min(max_length or self._limits[role], self._model.manifest.max_tokens)

    def _instructed(self, texts: Texts, instruction: str) -> Texts:
        if isinstance(texts, str):
            return self._format.format(instruction, texts)
        return [self._format.format(instruction, text) for text in texts]


def _by_name(out: Embeddings) -> list[dict[str, np.float32]] | None:
    """Lexical weights as FlagEmbedding writes them: ids as strings, weights as numpy scalars."""
    if out.sparse is None:
        return None
    rows = (out.sparse.row(i) for i in range(len(out)))
    return [dict(zip(map(str, ids.tolist()), values, strict=True)) for ids, values in rows]


def _device(devices: str | Sequence[str] | None) -> str:
    if devices is None:
        return "auto"
    names = [devices] if isinstance(devices, str) else list(devices)
    if len(names) != 1 or names[0].partition(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"devices is {devices!r}, expected one of 'cpu' or 'cuda'; run a process for each GPU")
    return names[0].partition(":")[0]
