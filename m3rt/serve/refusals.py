"""Errors over HTTP: one table from the error tree to status codes, and the body that each family of clients expects."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from fastapi import Response

from ..errors import (
    BundleError,
    DeadlinePassed,
    EngineError,
    HybridIndexError,
    InputError,
    M3rtError,
    OutputError,
    QueueFull,
)

Dialect = Literal["openai", "tei", "cohere", "rerank"]


class Malformed(InputError):
    """A body that is no JSON, or of another shape than the route takes."""


class TooLarge(InputError):
    """More than the server takes in one request."""


class TooSlow(InputError):
    """A body that did not come in time."""


class Forbidden(M3rtError):
    """No API key, or a wrong one."""


class Misdirected(M3rtError):
    """A request that was sent to another host's name."""


class Missing(M3rtError):
    """No such route, method or index."""

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Kind:
    """How an error is answered: status, OpenAI's type and TEI's, and whether trying again later may help."""

    status: int
    openai: str
    tei: str
    again: bool = False


# The first class that an error is an instance of decides.
_KINDS: tuple[tuple[type[BaseException], Kind], ...] = (
    (Malformed, Kind(400, "invalid_request_error", "Validation")),
    (TooLarge, Kind(413, "invalid_request_error", "Validation")),
    (TooSlow, Kind(408, "invalid_request_error", "Validation")),
    (Forbidden, Kind(401, "authentication_error", "Validation")),
    (Misdirected, Kind(403, "permission_error", "Validation")),
    (Missing, Kind(404, "not_found_error", "Validation")),
    (InputError, Kind(422, "invalid_request_error", "Validation")),
    (QueueFull, Kind(429, "rate_limit_error", "Overloaded", again=True)),
    (DeadlinePassed, Kind(503, "overloaded_error", "Overloaded", again=True)),
    (EngineError, Kind(503, "server_error", "Backend", again=True)),
    (HybridIndexError, Kind(503, "server_error", "Unhealthy", again=True)),
    (OutputError, Kind(503, "server_error", "Unhealthy", again=True)),
    (BundleError, Kind(503, "server_error", "Tokenizer", again=True)),
    (BaseException, Kind(500, "server_error", "Backend")),
)


def kind_of(error: BaseException) -> Kind:
    """The row of the table for an error."""
    found = next(kind for base, kind in _KINDS if isinstance(error, base))
    return Kind(error.status, found.openai, found.tei) if isinstance(error, Missing) else found


def _openai(message: str, kind: Kind) -> Any:
    return {"error": {"message": message, "type": kind.openai, "param": None, "code": kind.status}}


def _tei(message: str, kind: Kind) -> Any:
    return {"error": message, "error_type": "Empty" if message.endswith("is empty, expected texts") else kind.tei}


def _cohere(message: str, kind: Kind) -> Any:
    return {"message": message, "detail": message}  # Jina's clients read the second


def _rerank(message: str, kind: Kind) -> Any:
    return {**_tei(message, kind), **_cohere(message, kind)}  # /rerank has clients of both


_BODIES: dict[Dialect, Callable[[str, Kind], Any]] = {
    "openai": _openai,
    "tei": _tei,
    "cohere": _cohere,
    "rerank": _rerank,
}


def refusal(error: BaseException, dialect: Dialect, *, seconds: float = 0.0) -> Response:
    """The answer for an error; seconds: after how many trying again may help."""
    kind = kind_of(error)
    message = str(error) if isinstance(error, M3rtError) else "the server failed; its log says why"
    headers = {"retry-after": str(max(1, math.ceil(seconds)))} if kind.again else {}
    if kind.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(orjson.dumps(_BODIES[dialect](message, kind)), kind.status, headers, "application/json")
