"""Bundles as models of mteb (arXiv:2210.07316): a dense encoder for any task, and a search in any mode for retrieval.

mteb 2 recognises models by protocol, so it is not imported before it calls:

>>> import mteb                                                          # doctest: +SKIP
>>> mteb.evaluate(M3rtSearch("bge-m3-int8", mode="all"), mteb.get_tasks(tasks=["SciFact"]))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embeddings import WEIGHTS, Embeddings
from .encoder import M3Encoder
from .errors import InputError
from .evaluation.dataset import Dataset, Texts
from .evaluation.modes import MODES
from .evaluation.pools import Task
from .evaluation.views import embed
from .values.arguments import choice_of, mapping_of, whole_number
from .values.floats import numbers
from .values.listing import items, listed
from .values.shown import a_kind, shown
from .values.texts import check_texts

_BATCHES = "batches, each a mapping with text"


class _MtebModel:
    """An encoder with the metadata that mteb records. options: M3Encoder's."""

    _kind = "dense"

    def __init__(self, model: str | Path | M3Encoder, **options: Any) -> None:
        self.encoder = model if isinstance(model, M3Encoder) else M3Encoder(model, **options)

    @property
    def mteb_model_meta(self) -> Any:
        """Make mteb's ModelMeta from the bundle's manifest."""
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


class M3rtEncoder(_MtebModel):
    """Fits mteb's encoder protocol: dense vectors of a bundle, whose prompts precede queries and documents.

    model: a bundle's directory or an encoder; options: M3Encoder's.
    """

    def encode(self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: Any = None, **_: Any) -> NDArray[np.float32]:
        """Return dense vectors (n, dim) float32 of unit length, of the texts of all batches."""
        batches = (_row("batch", i, batch, ("text",)) for i, batch in enumerate(items("inputs", inputs, _BATCHES)))
        texts = [text for batch in batches for text in listed("the texts of a batch", batch["text"])]
        encode: dict[Any, Callable[[list[str]], Embeddings]] = {
            "query": self.encoder.encode_queries,
            "document": self.encoder.encode_corpus,
        }
        role = getattr(prompt_type, "value", prompt_type)
        dense = encode.get(role if isinstance(role, str) else "", self.encoder.encode)(texts).dense_vecs
        assert dense is not None
        return dense

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of all pairs, a tensor (n1, n2)."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of rows with equal places, a tensor (n,)."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


class M3rtSearch(_MtebModel):
    """Fits mteb's search protocol: exact retrieval in any mode of `m3rt eval`, without an index.

    model: a bundle's directory or an encoder; mode: a key of evaluation.MODES; weights: of the views in weighted
    sums; options: M3Encoder's. Raises InputError for an unknown mode, or one for which the bundle has no heads.
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
        mode = choice_of("mode", mode, MODES)
        if not self.encoder.manifest.heads.sparse and mode != "dense":
            raise InputError(f"{self.encoder.path} has no sparse and ColBERT heads for the mode {mode!r}; use 'dense'")
        self.mode, self.weights = mode, _weights(weights)
        self._corpus = Texts((), (), (), ())

    def index(self, corpus: Any, **_: Any) -> None:
        """Keep the documents; search() embeds them."""
        self._corpus = _texts(corpus)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """Return the best top_k documents of each query. Their scores only fall: fusions have no common scale.

        top_ranked: for each query id the ids of the documents to search among, by default all.
        """
        texts, top_k = _texts(queries), whole_number("top_k", top_k, 1, 1 << 30)
        task = Task(Dataset("mteb", self._corpus, texts, ({},) * len(texts)), self._pools(texts, top_ranked))
        embedded = embed(self.encoder, task, lambda texts, tokens: None)
        hits = {}
        for key, scores, pool in zip(texts.ids, embedded.each(), task.pools, strict=True):
            best = MODES[self.mode].rank(scores, pool, self.weights, depth=top_k)
            hits[key] = {self._corpus.ids[d]: float(len(best) - place) for place, d in enumerate(best.tolist())}
        return hits

    def _pools(self, queries: Texts, top_ranked: Mapping[str, list[str]] | None) -> tuple[NDArray[np.bool_], ...]:
        if top_ranked is None:
            return (np.ones(len(self._corpus), np.bool_),) * len(queries)
        among = mapping_of("top_ranked", top_ranked, "{query id: document ids}")
        pools = [listed(f"top_ranked of {shown(key)}", among.get(key, ())) for key in queries.ids]
        for pool in pools:
            check_texts(pool, "top_ranked document")
        return tuple(np.array([key in pool for key in self._corpus.ids], np.bool_) for pool in map(set, pools))

    def _experiment(self) -> dict[str, Any]:
        return {"mode": self.mode, "weights": self.weights}


def _texts(rows: Any) -> Texts:
    """Read mteb's documents or queries, joined as its loader does: title and text, text and instruction."""
    ids, texts = [], []
    for i, item in enumerate(rows if _is_dataset(rows) else items("rows", rows, "mappings with id and text")):
        row = _row("row", i, item, ("id", "text"))
        parts = [part for part in (row.get("title"), row["text"], row.get("instruction")) if part is not None]
        for part in (row["id"], *parts):
            if not isinstance(part, str):
                raise InputError(f"{shown(row['id'])} is {a_kind(part)}, expected text; use M3rtEncoder")
        ids.append(row["id"])
        texts.append(" ".join(filter(None, parts)))
    unknown = (None,) * len(ids)
    return Texts(tuple(ids), tuple(texts), unknown, unknown)


def _is_dataset(rows: Any) -> bool:
    """Whether `rows` is a table of Hugging Face's datasets, which is read as mappings."""
    return hasattr(type(rows), "column_names")


def _row(name: str, place: int, value: object, fields: tuple[str, ...]) -> dict[Any, Any]:
    wanted = f"a mapping with {' and '.join(fields)}"
    row = mapping_of(f"{name} {place}", value, wanted)
    if lacking := [field for field in fields if field not in row]:
        raise InputError(f"{name} {place} has no {lacking[0]!r}, expected {wanted}")
    return row


def _weights(weights: object) -> dict[str, float]:
    wanted = f"a finite number >= 0 for each of {', '.join(WEIGHTS)}"
    weights = mapping_of("weights", weights, wanted)
    if set(weights) != set(WEIGHTS):
        raise InputError(f"weights is {shown(weights)}, expected {wanted}")
    values = numbers("the list of weights", list(weights.values()), 1, wanted, np.float64)
    if (values < 0).any():
        raise InputError(f"weights is {shown(weights)}, expected {wanted}")
    return dict(zip(weights, values.tolist(), strict=True))
