"""Bundles in mteb (arXiv:2210.07316): a dense encoder for any task, and a search in any mode for retrieval.

mteb 2 knows its models by protocol, so nothing of it is imported before it calls:

>>> import mteb                                                          # doctest: +SKIP
>>> mteb.evaluate(M3rtSearch("bge-m3-int8", mode="all"), mteb.get_tasks(tasks=["SciFact"]))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embeddings import Embeddings
from .encoder import M3Encoder
from .errors import InputError
from .evaluation.dataset import Dataset, Texts
from .evaluation.modes import MODES, WEIGHTS
from .evaluation.pools import Task
from .evaluation.views import embed


class _Model:
    """An encoder, and what mteb records of it. options: M3Encoder's."""

    _kind = "dense"

    def __init__(self, model: str | Path | M3Encoder, **options: Any) -> None:
        self.encoder = model if isinstance(model, M3Encoder) else M3Encoder(model, **options)

    @property
    def mteb_model_meta(self) -> Any:
        """mteb's ModelMeta, from the bundle's manifest."""
        from mteb.models.model_meta import ModelMeta

        m = self.encoder.manifest
        return ModelMeta(
            loader=None,
            name=m.source.id if "/" in m.source.id else f"local/{m.source.id}",
            revision=m.source.revision or "unknown",
            release_date=None,
            languages=None,
            n_parameters=None,
            memory_usage_mb=sum(file.size for file in m.files.values()) / 2**20,
            max_tokens=m.max_tokens,
            embed_dim=m.dim,
            license=None,
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["ONNX"],
            similarity_fn_name="cosine",  # type: ignore[arg-type, unused-ignore]
            use_instructions=bool(m.prompts),
            training_datasets=None,
            model_type=[self._kind],  # type: ignore[list-item, unused-ignore]
            experiment_kwargs={"precision": m.precision, **self._experiment()},
        )

    def _experiment(self) -> dict[str, Any]:
        return {}


class M3rtEncoder(_Model):
    """mteb's encoder protocol: dense vectors of a bundle, its own prompts before queries and documents.

    model: a bundle's directory or an encoder; options: M3Encoder's.
    """

    def encode(self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: Any = None, **_: Any) -> NDArray[np.float32]:
        """Dense vectors (n, dim) float32 of unit length, of the texts of all batches."""
        texts = [text for batch in inputs for text in batch["text"]]
        encode: dict[Any, Callable[[list[str]], Embeddings]] = {
            "query": self.encoder.encode_queries,
            "document": self.encoder.encode_corpus,
        }
        dense = encode.get(getattr(prompt_type, "value", prompt_type), self.encoder.encode)(texts).dense_vecs
        assert dense is not None
        return dense

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, a tensor (n1, n2)."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of equal places, a tensor (n,)."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


class M3rtSearch(_Model):
    """mteb's search protocol: retrieval in any mode of `m3rt eval`, exactly, without an index.

    model: a bundle's directory or an encoder; mode: a key of evaluation.MODES; weights: of the views in weighted
    sums; options: M3Encoder's. Raises InputError for a mode that is unknown or that the bundle has no heads for.
    """

    _kind = "hybrid"

    def __init__(
        self,
        model: str | Path | M3Encoder,
        *,
        mode: str = "all",
        weights: Mapping[str, float] = WEIGHTS,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if mode not in MODES:
            raise InputError(f"mode is {mode!r:.40}, expected one of {', '.join(MODES)}")
        if self.encoder.manifest.kind != "m3" and mode != "dense":
            raise InputError(f"{self.encoder.path} has no sparse and ColBERT heads for the mode {mode!r}; use 'dense'")
        self.mode, self.weights = mode, dict(weights)
        self._corpus = Texts((), (), (), ())

    def index(self, corpus: Any, **_: Any) -> None:
        """Keep the documents for search(), which embeds them."""
        self._corpus = _texts(corpus)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """The best top_k documents of each query, with falling numbers as scores: fusions have no common scale.

        top_ranked: the documents among which a query is searched, by id; all where there are none.
        """
        asked = _texts(queries)
        task = Task(Dataset("mteb", self._corpus, asked, ({},) * len(asked)), self._pools(asked, top_ranked))
        views = embed(self.encoder, task, lambda texts, tokens: None)
        found = {}
        for key, scores, pool in zip(asked.ids, views.each(), task.pools, strict=True):
            best = MODES[self.mode].rank(scores, pool, self.weights, depth=top_k)
            found[key] = {self._corpus.ids[d]: float(len(best) - place) for place, d in enumerate(best.tolist())}
        return found

    def _pools(self, queries: Texts, top_ranked: Mapping[str, list[str]] | None) -> tuple[NDArray[np.bool_], ...]:
        if top_ranked is None:
            return (np.ones(len(self._corpus), np.bool_),) * len(queries)
        ids = np.array(self._corpus.ids, dtype=object)
        return tuple(np.isin(ids, top_ranked.get(key, [])) for key in queries.ids)

    def _experiment(self) -> dict[str, Any]:
        return {"mode": self.mode, "weights": self.weights}


def _texts(rows: Iterable[Mapping[str, Any]]) -> Texts:
    """mteb's documents or queries, joined as its own loader does: title and text, text and instruction."""
    ids, texts = [], []
    for row in rows:
        if not isinstance(text := row["text"], str):
            raise InputError(f"{row['id']!r:.60} is a {type(text).__name__}, expected text; use M3rtEncoder")
        ids.append(row["id"])
        texts.append(" ".join(part for part in (row.get("title"), text, row.get("instruction")) if part))
    nothing = (None,) * len(ids)
    return Texts(tuple(ids), tuple(texts), nothing, nothing)
