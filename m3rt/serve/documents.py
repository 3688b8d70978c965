"""Search over the indexes that are served: documents in, hits out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from ..bundle.heads import HEAD_NAMES, Heads
from ..errors import InputError
from ..index import Hit, HybridIndex, SearchResult
from ..index.reranking import by_scores, passages
from ..index.search.options import RERANKED, Options
from .answers import any_json, to_json
from .bodies import Body
from .routes import Route
from .service import Service
from .trace import Trace

_Scalar = str | int | float | bool | None


class SearchRequest(Body):
    query: str
    index: str | None = None
    k: Annotated[int, Field(ge=1, le=1000)] | None = None
    mode: Literal["hybrid", "dense", "sparse", "colbert"] | None = None
    fusion: Literal["rrf"] | list[float] | None = None
    candidates: Annotated[int, Field(ge=1, le=10_000)] | None = None
    filter: dict[str, _Scalar | list[_Scalar]] | None = None
    rerank: bool | None = None  # by ColBERT vectors, unless it is false
    reranker: bool | None = None  # order the hits by the served reranker
    explain: bool | None = None


class Document(Body):
    id: str
    text: str
    metadata: dict[str, Any] | None = None


class AddRequest(Body):
    documents: Annotated[list[Document], Field(min_length=1)]
    index: str | None = None


class DeleteRequest(Body):
    ids: Annotated[list[str], Field(min_length=1)]
    index: str | None = None


async def search(service: Service, body: SearchRequest, trace: Trace) -> bytes:
    """Documents, best first, with the score of each view."""
    index = service.index(body.index)
    if not body.query.strip():
        raise InputError("query is empty, expected words to search for")
    heads = Heads(*(bool(getattr(index.settings, head)) for head in HEAD_NAMES))
    query = await service.embed([body.query], heads, trace, role="query")
    given = {name: getattr(body, name) for name in ("k", "mode", "fusion", "candidates", "filter", "rerank", "explain")}
    options = {name: value for name, value in given.items() if value is not None}
    if body.reranker:
        options["k"] = max(body.k or Options().k, RERANKED)
    with trace.stage("search"):
        result = await service.search(partial(index.search, query, **options))
    hits: Sequence[Hit] = result.hits
    if body.reranker and hits:
        scores = await service.rerank(body.query, passages(hits), trace, normalize=False)
        hits = by_scores(hits, scores, body.k or Options().k)
    found = [_hit(service, hit) for hit in hits]
    return to_json({"hits": found, "seconds": _seconds(result, trace), "truncated": bool(query.truncated[0])})


async def add(service: Service, body: AddRequest, trace: Trace) -> bytes:
    """Add or replace documents in one commit."""
    index, documents = service.index(body.index), body.documents
    texts = [document.text for document in documents]
    service.limits.check(texts)
    trace.texts += len(texts)
    metadata = [document.metadata for document in documents]
    run = partial(index.add, [document.id for document in documents], texts, metadata=metadata)
    trace.give_up()  # its texts wait in the queue themselves
    with trace.stage("add"):
        added = await service.write(run)
    trace.truncated += added.truncated
    return to_json({"added": added.documents, "replaced": added.replaced, "truncated": added.truncated})


async def delete(service: Service, body: DeleteRequest, trace: Trace) -> bytes:
    """Delete documents in one commit; says how many of the ids there were."""
    index = service.index(body.index)
    with trace.stage("delete"):
        return to_json({"deleted": await service.write(partial(index.delete, body.ids))})


def indexes(service: Service) -> bytes:
    """What is served: each index by name, with its documents and settings."""
    return to_json({"indexes": {name: _described(index) for name, index in service.indexes.items()}})


def _described(index: HybridIndex) -> dict[str, Any]:
    found = index.info()
    return {name: found[name] for name in ("documents", "rows", "size", "settings")}


def _hit(service: Service, hit: Hit) -> dict[str, Any]:
    terms = None if hit.terms is None else service.encoder.convert_id_to_token(hit.terms)
    return {
        "id": hit.id,
        "score": hit.score,
        "scores": dict(hit.scores),
        "text": hit.text,
        "metadata": any_json(hit.metadata),
        "span": hit.span,
        "terms": terms,
    }


def _seconds(result: SearchResult, trace: Trace) -> Mapping[str, float]:
    return {**trace.stages, **result.seconds}


ROUTES = (
    Route("/v1/search", {SearchRequest: search}, "openai", "Search a served index"),
    Route("/v1/documents", {AddRequest: add}, "openai", "Add documents to a served index"),
    Route("/v1/documents", {DeleteRequest: delete}, "openai", "Delete documents from a served index", method="DELETE",
          waits=False),
)  # fmt: skip
