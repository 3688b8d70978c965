"""The app: every route over one service, errors in the dialect of each, the checks at its door."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import M3rtError
from ..version import __version__
from . import cohere, documents, encode, openai, tei
from .access_log import AccessLog
from .door import Door
from .hosts import Hosts
from .keys import Keys
from .metrics import MEDIA, Metrics
from .refusals import Dialect, Missing, kind_of, refusal
from .routes import Route
from .service import Service

ROUTES: tuple[Route, ...] = (*encode.ROUTES, *openai.ROUTES, *tei.ROUTES, *cohere.ROUTES, *documents.ROUTES)
# What needs no body: path, what it answers.
_READS: dict[str, Callable[[Service], bytes]] = {
    "/v1/models": openai.models,
    "/models": openai.models,
    "/info": tei.info,
    "/v1/documents": documents.indexes,
}
_PAGE = Path(__file__).parent / "page.html"
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_log = logging.getLogger("m3rt.serve")


def make_app(
    service: Service, metrics: Metrics, *, keys: Keys | None = None, hosts: Hosts | None = None,
    access_log: AccessLog | None = None,
) -> Door:  # fmt: skip
    """The ASGI app. metrics: those that the service's queue feeds. hosts: by which it may be called without keys.

    access_log: gets a line for each request.
    """
    app = FastAPI(title="m3rt", version=__version__, docs_url=None, redoc_url=None, lifespan=_warm(service))
    dialects: dict[str, Dialect] = {route.path: route.dialect for route in ROUTES}
    for route in ROUTES:
        _add(app, route, service)
    for path, read in _READS.items():
        _add_read(app, path, read, service)
    _add_operations(app, service, metrics)
    _add_errors(app, service, dialects)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    metrics.watch("m3rt_queue_tokens", "Tokens of requests that are not answered yet.", lambda: service.queue.cost)
    metrics.watch("m3rt_queue_texts", "Texts that wait for a pass.", lambda: service.queue.texts)
    metrics.watch("m3rt_held_bytes", "Bytes of requests and answers in hand.", lambda: service.held.bytes)
    if access_log is not None:
        metrics.watch("m3rt_dropped_log_lines", "Lines of the access log that nobody read.", lambda: access_log.dropped)
    pairs = service.pairs
    if pairs is not None:
        metrics.watch("m3rt_pair_tokens", "Tokens of pairs that are not scored yet.", lambda: pairs.cost)
    return Door(
        app, answers={(route.method, route.path): _answer(route, service) for route in ROUTES}, keys=keys or Keys(),
        hosts=hosts or Hosts(), metrics=metrics, dialects=dialects, access_log=access_log,
    )  # fmt: skip


def _warm(service: Service) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.warm()
        yield

    return lifespan


def _add(app: FastAPI, route: Route, service: Service) -> None:
    async def endpoint(request: Request) -> Response:
        return await route.answer(service, request, request.state.trace)

    app.add_api_route(
        route.path, endpoint, methods=[route.method], summary=route.summary, openapi_extra=route.schema(),
        name=f"{route.method} {route.path}", response_class=Response,
    )  # fmt: skip


def _answer(route: Route, service: Service) -> ASGIApp:
    """The route as FastAPI would answer it, in a third of its time: it has no parameters to solve."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await route.answer(service, request, request.state.trace)
        except M3rtError as error:
            response = _refused(error, scope["path"], route.dialect, service)
        await response(scope, receive, send)

    return answer


def _add_read(app: FastAPI, path: str, read: Callable[[Service], bytes], service: Service) -> None:
    async def endpoint() -> Response:
        return Response(read(service), media_type="application/json")

    app.add_api_route(path, endpoint, methods=["GET"], name=f"GET {path}", response_class=Response)


def _add_operations(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/live", summary="Whether the process answers")
    async def live() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    @app.get("/ready", summary="Whether the model answers: a real inference within a deadline")
    @app.get("/health", summary="TEI's name for /ready")
    async def ready() -> Response:
        await service.check_ready()
        return Response(b'{"status":"ok"}', media_type="application/json")

    @app.get("/metrics", summary="Numbers for Prometheus")
    async def numbers() -> Response:
        return Response(metrics.text(), media_type=MEDIA)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(_PAGE.read_bytes(), headers=_PAGE_HEADERS, media_type="text/html; charset=utf-8")


def _add_errors(app: FastAPI, service: Service, dialects: dict[str, Dialect]) -> None:
    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = Missing(
                f"{request.method} {request.url.path!r:.80} is not a route of this server", error.status_code
            )
        path = request.url.path
        return _refused(error, path, dialects.get(path, "openai"), service)

    for kind in (M3rtError, HTTPException):
        app.add_exception_handler(kind, answer)


def _refused(error: Exception, path: str, dialect: Dialect, service: Service) -> Response:
    if kind_of(error).status >= 500:
        _log.error("m3rt: %s: %s", path, error)
    return refusal(error, dialect, seconds=service.queue.seconds())


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        models = {model: None for route in ROUTES for model in route.answers}
        template = "#/components/schemas/{model}"
        _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=template)
        found.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        app.openapi_schema = found
    return app.openapi_schema
