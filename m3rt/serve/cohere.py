"""Cohere's routes, v1 and v2, and /rerank, where Jina's, vLLM's and TEI's clients meet."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..bundle.heads import Heads
from ..errors import InputError
from . import tei
from .answers import base64_of, to_json
from .bodies import Body, Texts
from .routes import Route
from .service import Cut, Service
from .trace import Trace

_CUT: dict[str | None, Cut] = {None: "end", "END": "end", "START": "start", "NONE": "refuse"}
_ROLES = {"search_query": "query", "search_document": "passage"}


class CohereRerankRequest(Body):
    refused: ClassVar = {
        "max_chunks_per_doc": ((1,), "documents are cut at their end; split long ones before they are sent"),
        "truncate_prompt_tokens": ((-1,), "use max_tokens_per_doc"),
    }
    query: str
    documents: Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    model: str | None = None
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool | None = None
    rank_fields: list[str] | None = None
    max_tokens_per_doc: Annotated[int, Field(ge=1)] | None = None
    raw_scores: bool | None = None  # infinity's


class CohereEmbedRequest(Body):
    refused: ClassVar = {"max_tokens": ((), "POST /v1/encode takes max_length")}
    texts: Texts
    model: str | None = None
    input_type: str | None = None
    embedding_types: list[Literal["float", "base64"]] | None = None
    truncate: Literal["NONE", "START", "END"] | None = None
    output_dimension: int | None = None


async def rerank(service: Service, body: CohereRerankRequest, trace: Trace) -> bytes:
    """Documents by score between 0 and 1, or as the model gives them, best first, top_n of them."""
    texts = [_text(i, document, body.rank_fields) for i, document in enumerate(body.documents)]
    passage_tokens = body.max_tokens_per_doc
    scores = await service.rerank(
        body.query, texts, trace, normalize=not body.raw_scores, passage_tokens=passage_tokens
    )
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[: body.top_n]
    documents = [{"document": {"text": text}} if body.return_documents else {} for text in texts]
    results = [{"index": i, "relevance_score": scores[i], **documents[i]} for i in best]
    return to_json({"id": trace.id, "results": results, "model": service.name, "meta": _META})


async def embed(service: Service, body: CohereEmbedRequest, trace: Trace) -> bytes:
    """Dense vectors by type; a query's and a document's prompt if the model has them."""
    role, cut = _ROLES.get(body.input_type or ""), _CUT[body.truncate]
    out = await service.embed(body.texts, Heads(), trace, dim=body.output_dimension, cut=cut, role=role)
    assert out.dense_vecs is not None
    vectors: dict[str, Any] = {"float": out.dense_vecs}
    if "base64" in (body.embedding_types or []):
        vectors["base64"] = [base64_of(row) for row in out.dense_vecs]
    vectors = {name: vectors[name] for name in body.embedding_types or ["float"]}
    found = {"id": trace.id, "embeddings": vectors, "texts": body.texts, "meta": _META}
    return to_json({**found, "response_type": "embeddings_by_type"})


_META = {"api_version": {"version": "2"}, "billed_units": {}}


def _text(place: int, document: str | dict[str, Any], fields: list[str] | None) -> str:
    """A document's text: its own, or of an object the fields to rank by, "text" unless they are named."""
    if isinstance(document, str):
        return document
    parts = [document.get(name) for name in fields or ["text"]]
    if not all(isinstance(part, str) for part in parts):
        raise InputError(f"documents.{place} has no text in {', '.join(fields or ['text'])!s:.60}, expected a string")
    return "\n".join(map(str, parts))


def _by_documents(value: dict[str, Any]) -> type[Body]:
    return CohereRerankRequest if "documents" in value else tei.RerankRequest


_RERANK = "Rerank: TEI's shape for texts, Cohere's and Jina's for documents"
ROUTES = (
    Route(
        "/rerank", {tei.RerankRequest: tei.rerank, CohereRerankRequest: rerank}, "rerank", _RERANK,
        choose=_by_documents, waits=False,
    ),
    Route("/v1/rerank", {CohereRerankRequest: rerank}, "cohere", "Cohere, Jina: rerank", waits=False),
    Route("/v2/rerank", {CohereRerankRequest: rerank}, "cohere", "Cohere: rerank", waits=False),
    Route("/v1/embed", {CohereEmbedRequest: embed}, "cohere", "Cohere: dense vectors"),
    Route("/v2/embed", {CohereEmbedRequest: embed}, "cohere", "Cohere: dense vectors"),
)  # fmt: skip
