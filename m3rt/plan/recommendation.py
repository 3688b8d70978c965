"""Rules that turn answers into a plan, each decision with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil

from ..errors import InputError
from .bundles import bundle_bytes, pruned_pieces
from .costs import QUERY_TOKENS, Cost, Speed, cost, search_ms, speed
from .models import AS_OF, MODELS, Checkpoint
from .questions import MIN_COLBERT_DOCUMENTS, Questions
from .sizes import Corpus, index_bytes
from .texts import distinct_pieces, frequent_pieces, text_bytes

_EDGE_BYTES = 150e6  # of a bundle that a phone or a small board loads, without a storage budget; assumed
_INDEX_ROWS = 2_000_000  # beyond, a database spreads the rows over machines
_CHUNK, _OVERLAP = 512, 64  # tokens
_TASKS = {  # of mteb, by domain
    "code": ("CosQA", "CodeSearchNetRetrieval"),
    "finance": ("FiQA2018",),
    "legal": ("AILAStatutes",),
    "medical": ("NFCorpus", "TRECCOVID"),
    "science": ("SciFact", "SCIDOCS"),
}
_INT4_LOSS = "on two small models the mean cosine to fp32 was .987 and .998; 91% and 89% of the ten nearest were kept"
_NARROW_INT4_LOSS = "the mean cosine of such models to fp32 was .998 and .9996; 95% of the ten nearest were kept"


@dataclass(frozen=True, slots=True)
class Plan:
    """A model with its precision, what is stored of each view, where, at what cost, and why."""

    model: Checkpoint
    precision: str
    pieces: int | None  # that a pruned vocabulary keeps
    dim: int
    dense: str
    colbert: str | None
    chunk_tokens: int | None
    corpus: Corpus
    store: str
    parts: dict[str, float]  # bytes
    speed: Speed
    query_ms: float
    cost: Cost
    reasons: tuple[str, ...] = ()
    tasks: tuple[str, ...] = field(default=())

    @property
    def sparse(self) -> bool:
        """Whether lexical weights are stored."""
        return "sparse" in self.model.views

    @property
    def bytes(self) -> float:
        """Bytes of all that is stored."""
        return sum(self.parts.values())


def recommend(q: Questions) -> Plan:
    """The first plan, in the order of preference, that meets every budget. Raises InputError when none does."""
    plans = [
        _plan(q, model, precision, pieces, dense, colbert)
        for model in _models(q)
        for precision, pieces in _forms(q, model)
        for dense, colbert in _stored(q, model)
    ]
    for plan in plans:
        if not _excess(q, plan):
            return plan
    nearest = min(plans, key=lambda plan: _excess(q, plan))
    raise InputError(
        f"no plan meets the budget; the nearest is {nearest.model.name} with dense {nearest.dense}: "
        f"{nearest.query_ms:.3g} ms a query and {nearest.bytes / 1e9:.3g} GB; allow as much or plan for fewer"
    )


def _models(q: Questions) -> list[Checkpoint]:
    """The models that have all languages and fit the target. Raises InputError, naming what is missing."""
    lacking = {model.name: sorted({*q.languages} - model.languages) for model in MODELS}
    speaking = [model for model in MODELS if not lacking[model.name]]
    if not speaking:
        name, codes = min(lacking.items(), key=lambda item: len(item[1]))
        raise InputError(f"no model has every language; the nearest is {name}, without {', '.join(codes)}")
    free = q.target != "edge" or q.storage_gb is not None
    fitting = [m for m in speaking if free or bundle_bytes(m, "int8") <= _EDGE_BYTES]
    if q.dim is not None:
        fitting = [m for m in fitting if m.dim >= q.dim]
    if not fitting:
        raise InputError(f"no model for target {q.target} has {q.dim} components and the languages; leave dim out")
    return fitting


def _forms(q: Questions, model: Checkpoint) -> Iterator[tuple[str, int | None]]:
    """Precisions of weights and the pieces of the vocabulary, those that lose least first."""
    yield "int8", None
    if q.target == "edge" and q.storage_gb is not None and not model.ships:
        pieces = pruned_pieces(model, len(q.languages))
        yield from [("int8", pieces)] if pieces else []
        yield "int4", None
        yield from [("int4", pieces)] if pieces else []


def _stored(q: Questions, model: Checkpoint) -> Iterator[tuple[str, str | None]]:
    """Precisions of dense and ColBERT vectors, the better first."""
    wanted = "colbert" in model.views and (q.colbert or (_enough(q, model) and q.storage_gb is not None))
    for dense in ("int8", "binary+int8", "binary"):
        if wanted:
            yield from ((dense, colbert) for colbert in ("int8", "binary"))
        if not (q.colbert and wanted):
            yield dense, None


def _enough(q: Questions, model: Checkpoint) -> bool:
    return _rows(q, model).rows >= MIN_COLBERT_DOCUMENTS


def _chunk_tokens(q: Questions, model: Checkpoint) -> int | None:
    return min(_CHUNK, model.max_tokens) if q.tokens > _CHUNK or q.tokens > model.max_tokens else None


def _rows(q: Questions, model: Checkpoint) -> Corpus:
    chunk = _chunk_tokens(q, model)
    chunks = 1 if chunk is None else max(1, ceil((q.tokens - _OVERLAP) / (chunk - _OVERLAP)))
    tokens = q.tokens if chunk is None else min(chunk, (q.tokens + (chunks - 1) * _OVERLAP) / chunks)
    terms, size = distinct_pieces(tokens, q.domain), text_bytes(tokens, q.languages, q.domain)
    return Corpus(q.documents * chunks, tokens, terms, size, frequent_pieces(tokens, len(q.languages)))


def _plan(q: Questions, model: Checkpoint, precision: str, pieces: int | None, dense: str, colbert: str | None) -> Plan:
    corpus, dim, sparse = _rows(q, model), q.dim or model.dim, "sparse" in model.views
    parts = index_bytes(corpus, dim, dense=dense, sparse=sparse, colbert=colbert, colbert_dim=model.colbert_dim)
    if q.target == "edge":
        parts["bundle"] = bundle_bytes(model, precision, pieces)
    rate = speed(model, precision, q.tokens_per_s)
    store = "index" if corpus.rows <= _INDEX_ROWS and dim == model.dim else "database"
    query_ms = rate.query_ms + (search_ms(corpus.rows, dim, dense, sparse) if store == "index" else 0)
    bill = cost(corpus.rows * corpus.tokens, rate, q.dollars_an_hour, q.hours, query_ms)
    plan = Plan(
        model, precision, pieces, dim, dense, colbert, _chunk_tokens(q, model), corpus, store, parts, rate, query_ms,
        bill, tasks=_tasks(q),
    )  # fmt: skip
    return Plan(**{**{name: getattr(plan, name) for name in Plan.__slots__}, "reasons": tuple(_reasons(q, plan))})


def _excess(q: Questions, plan: Plan) -> float:
    """By what factor a plan exceeds its budgets, together; 0 where it meets them."""
    over = [
        used / budget
        for used, budget in ((plan.query_ms, q.latency_ms), (plan.bytes / 1e9, q.storage_gb))
        if budget is not None and used > budget
    ]
    return sum(over)


def _tasks(q: Questions) -> tuple[str, ...]:
    found = _TASKS.get(q.domain, ("NFCorpus", "SciFact", "FiQA2018") if q.languages == ("en",) else ())
    return found if q.languages == ("en",) else (*found, "MIRACLRetrieval")


def _reasons(q: Questions, plan: Plan) -> Iterator[str]:
    """A line for each decision."""
    m, languages = plan.model, ", ".join(q.languages)
    published = ", ".join(f"{name} {value:g}" for name, value in (m.figures or {}).items())
    yield (
        f"model: {m.name} has {languages} and fits target {q.target}"
        + (f"; published nDCG@10: {published}" if published else "; no figure in the table")
        + f" ({AS_OF}, {m.sources[0]})"
    )
    if q.domain != "general":
        yield f"domain: no figure here is of {q.domain}; measure with --data before you trust the order"
    yield from _weights(plan)
    yield {
        "int8": "dense: int8 codes take a quarter of float32 and rank almost as it does; --data measures it",
        "binary+int8": "dense: int8 codes of rows that signs choose: as good as int8 alone, and faster at this size",
        "binary": "dense: signs alone meet the budget; an index's lost up to 6 points of nDCG@10 with m3-tiny, 2 to 5 "
        "with multilingual-e5-small, whose vectors all point one way, plain ones 19 to 33: measure with --data; rerank",
    }[plan.dense]
    if plan.dim < m.dim:
        trained = plan.dim in m.matryoshka
        yield f"dim: {plan.dim} of {m.dim}, " + ("trained so" if trained else "not trained so: measure with --data")
    if plan.colbert:
        yield f"colbert: {plan.colbert}, {plan.parts['colbert'] / 1e9:.3g} GB, reorders the best of the other views"
    elif "colbert" in m.views:
        why = "costs most of the storage; set --colbert or a storage budget"
        if not _enough(q, m):
            why = f"pays from {MIN_COLBERT_DOCUMENTS:,} passages on; below, a reranker reads the best ones as well"
        yield f"colbert: none, it {why}"
    if m.prompts:
        yield f"prompt: {m.prompts}; the bundle holds them, --query and --passage put them there"
    if plan.chunk_tokens:
        long = f", longer than the model's window of {m.max_tokens}" if q.tokens > m.max_tokens else ""
        yield f"chunking: {q.tokens} tokens a document{long}; chunks of {plan.chunk_tokens}, {_OVERLAP} shared"
    yield f"speed: {plan.speed.tokens_per_s:,.0f} tokens/s a machine ({plan.speed.origin}); a query has {QUERY_TOKENS}"
    if plan.store == "database":
        smaller = "an index keeps all components" if plan.dim < m.dim else f"an index is for up to {_INDEX_ROWS:,} rows"
        yield f"store: a database (Qdrant, Milvus, pgvector, Vespa), since {smaller}"
    else:
        yield "store: an index of m3rt, one directory on one machine"


def _weights(plan: Plan) -> Iterator[str]:
    """Why the bundle has these weights and this vocabulary; of experiments, what they cost."""
    m, size = plan.model, bundle_bytes(plan.model, plan.precision, plan.pieces) / 1e6
    if plan.precision == "int8":
        yield "precision: int8 weights run 3.8 times as fast as fp32 on CPUs with VNNI, less without; fp16 is for GPUs"
    else:
        loss = _NARROW_INT4_LOSS if m.narrow else _INT4_LOSS
        yield (
            f"precision: int4, about {size:,.0f} MB, since int8's {bundle_bytes(m, 'int8', plan.pieces) / 1e6:,.0f} MB "
            f"exceed the budget; experimental: {loss}; see m3rt verify --against"
        )
    if plan.pieces:
        yield (
            f"vocabulary: about {plan.pieces:,} of {m.vocabulary:,} pieces, about {size:,.0f} MB; experimental: texts "
            "whose pieces are kept have the same vectors, others fall into smaller pieces and may rank worse"
        )
