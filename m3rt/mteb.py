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

from .embeddings import WEIGHTS, Embeddings
from .encoder import M3Encoder
from .errors import InputError
from .evaluation.dataset import Dataset, Texts
from .evaluation.modes import MODES
from .evaluation.pools import Task
from .evaluation.views import embed
from .text.tokenizer import check_texts
from .values.arguments import choice_of, mapping_of, whole_number
from .values.floats import numbers
from .values.listing import items, listed
from .values.shown import kind, shown

_BATCHES = "batches, each a mapping with text"


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
        mode = choice_of("mode", mode, MODES)
        if not self.encoder.manifest.heads.sparse and mode != "dense":
            raise InputError(f"{self.encoder.path} has no sparse and ColBERT heads for the mode {mode!r}; use 'dense'")
        self.mode, self.weights = mode, _weights(weights)
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
        asked, top_k = _texts(queries), whole_number("top_k", top_k, 1, 1 << 30)
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
        among = mapping_of("top_ranked", top_ranked, "{query id: document ids}")
        pools = [listed(f"top_ranked of {shown(key)}", among.get(key, ())) for key in queries.ids]
        for pool in pools:
            check_texts(pool, "top_ranked document")
        return tuple(np.array([key in pool for key in self._corpus.ids], np.bool_) for pool in map(set, pools))

    def _experiment(self) -> dict[str, Any]:
        return {"mode": self.mode, "weights": self.weights}


def _texts(rows: Any) -> Texts:
    """mteb's documents or queries, joined as its own loader does: title and text, text and instruction."""
    ids, texts = [], []
    for i, given in enumerate(rows if _is_dataset(rows) else items("rows", rows, "mappings with id and text")):
        row = _row("row", i, given, ("id", "text"))
        parts = [part for part in (row.get("title"), row["text"], row.get("instruction")) if part is not None]
        for part in (row["id"], *parts):
            if not isinstance(part, str):
                raise InputError(f"{shown(row['id'])} is a {kind(part)}, expected text; use M3rtEncoder")
        ids.append(row["id"])
        texts.append(" ".join(filter(None, parts)))
    nothing = (None,) * len(ids)
    return Texts(tuple(ids), tuple(texts), nothing, nothing)


def _is_dataset(rows: Any) -> bool:
    """Whether these are rows of Hugging Face's datasets: a table, but one that gives mappings."""
    return hasattr(type(rows), "column_names")


def _row(name: str, place: int, given: object, fields: tuple[str, ...]) -> dict[Any, Any]:
    wanted = f"a mapping with {' and '.join(fields)}"
    row = mapping_of(f"{name} {place}", given, wanted)
    if lacking := [field for field in fields if field not in row]:
        raise InputError(f"{name} {place} has no {lacking[0]!r}, expected {wanted}")
    return row


def _weights(weights: object) -> dict[str, float]:
    wanted = f"a finite number >= 0 for each of {', '.join(WEIGHTS)}"
    given = mapping_of("weights", weights, wanted)
    if set(given) != set(WEIGHTS):
        raise InputError(f"weights is {shown(given)}, expected {wanted}")
    values = numbers("the list of weights", list(given.values()), 1, wanted, np.float64)
    if (values < 0).any():
        raise InputError(f"weights is {shown(given)}, expected {wanted}")
    return dict(zip(given, values.tolist(), strict=True))
