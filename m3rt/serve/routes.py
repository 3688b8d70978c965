"""A route: a path, the bodies that it takes, and the function that answers each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from .answers import InPieces
from .bodies import Body, checked, read
from .refusals import Dialect
from .service import Service
from .trace import Trace

Answer = Callable[[Service, Any, Trace], Awaitable[bytes | Response]]
_BYTES_PER_TOKEN = 8  # with the JSON around it; more than most texts have, so that few are refused too early
_GONE = 499  # as nginx logs a client that closed its connection


@dataclass(frozen=True, slots=True)
class Route:
    """A route with a JSON body.

    answers: the function for each model of a body; choose: of several, the one that a body is meant to be. waits:
    whether it waits for passes of the encoder, and so is refused where that would take too long.
    """

    path: str
    answers: Mapping[type[Body], Answer]
    dialect: Dialect
    summary: str
    method: str = "POST"
    choose: Callable[[dict[str, Any]], type[Body]] | None = None
    waits: bool = True

    async def answer(self, service: Service, request: Request, trace: Trace) -> Response:
        """Read, check and answer a request; work for a client that goes is cancelled."""
        until_sent: ExitStack = request.state.until_sent
        if self.waits:
            trace.give_up = service.queue.book(_tokens_of(request))
            until_sent.callback(trace.give_up)
        value = await read(request, service.limits, until_sent.enter_context(service.held.body()))
        model = self.choose(value) if self.choose else next(iter(self.answers))
        body = checked(model, value)
        with trace.stage("total"):
            content = await _unless_gone(request, self.answers[model](service, body, trace))
        if not isinstance(content, Response):
            headers = {"server-timing": trace.timing(), "x-truncated-texts": str(trace.truncated)}
            content = InPieces(content, 200, headers, "application/json")
        until_sent.enter_context(service.held.answer(len(content.body)))
        return content

    def schema(self) -> dict[str, Any]:
        """The body as OpenAPI has it."""
        models = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in self.answers]
        schema = models[0] if len(models) == 1 else {"anyOf": models}
        return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _tokens_of(request: Request) -> int:
    """About how many tokens the body has."""
    size = request.headers.get("content-length", "")
    return 1 + (int(size) // _BYTES_PER_TOKEN if size.isascii() and size.isdecimal() else 0)


async def _unless_gone(request: Request, answer: Awaitable[bytes | Response]) -> bytes | Response:
    here = asyncio.current_task()
    assert here is not None
    watch = asyncio.create_task(_cancel_when_gone(request, here))
    try:
        return await answer
    except asyncio.CancelledError:
        if not watch.done() or here.uncancel():  # somebody else cancelled it
            raise
        return Response(status_code=_GONE)
    finally:
        watch.cancel()


async def _cancel_when_gone(request: Request, answering: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    answering.cancel()
