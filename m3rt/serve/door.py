"""What every request passes: its id, the API key or the host's name, and afterwards its log line and the metrics."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from random import getrandbits

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import M3rtError, one_line
from .access_log import AccessLog
from .hosts import Hosts
from .keys import Keys
from .metrics import Metrics
from .refusals import Dialect, Forbidden, Misdirected, refusal
from .trace import Trace

# Probes carry no key and name hosts as they like, and the page holds nothing: it asks for a key.
OPEN = {("GET", "/live"), ("GET", "/ready"), ("GET", "/health"), ("GET", "/")}
_ID = re.compile(rb"[\x21-\x7e]{1,128}")  # of a request, as a proxy may give one
_PATH = 200  # characters of a path in the log
_HOST = 80  # and of a host in an answer
_log = logging.getLogger("m3rt.serve")


class Door:
    """ASGI middleware around the app.

    answers: by method and path, what the door calls itself: the way through the app costs more than the door does.
    hosts: checked where there are no keys. access_log: gets a line for each request.
    """

    def __init__(
        self, app: ASGIApp, *, answers: Mapping[tuple[str, str], ASGIApp], keys: Keys,
        hosts: Hosts, metrics: Metrics, dialects: dict[str, Dialect],
        access_log: AccessLog | None,
    ) -> None:  # fmt: skip
        self._app, self._answers, self._keys, self._hosts = app, answers, keys, hosts
        self._metrics, self._dialects = metrics, dialects
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        trace = Trace(_id_of(headers.get(b"x-request-id")), headers.get(b"accept", b"").decode("latin-1"))
        until_sent = ExitStack()  # holds what a request takes until its answer has gone
        scope.setdefault("state", {}).update(trace=trace, until_sent=until_sent)
        began, status, size = time.perf_counter(), 0, 0

        async def sending(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", trace.id.encode())]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            if error := self._objection(scope, headers):
                await self._refuse(error, scope, receive, sending)
            else:
                app = self._answers.get((scope["method"], scope["path"]), self._app)
                await app(scope, receive, sending)
        except Exception as error:  # a defect of the server
            _log.exception("m3rt: %s failed", one_line(scope["path"], _PATH))
            if status:
                raise
            await self._refuse(error, scope, receive, sending)
        finally:
            until_sent.close()
            self._finished(scope, trace, status, size, time.perf_counter() - began)

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        await refusal(error, self._dialects.get(scope["path"], "openai"))(scope, receive, send)

    def _objection(self, scope: Scope, headers: dict[bytes, bytes]) -> M3rtError | None:
        """Why the request is not let in; None: it is."""
        if (scope["method"], scope["path"]) in OPEN:
            return None
        if not self._keys.admit(headers.get(b"authorization")):
            return Forbidden("no valid API key; send the header Authorization: Bearer KEY")
        if not self._keys and not self._hosts.admit([value for name, value in scope["headers"] if name == b"host"]):
            host = one_line(headers.get(b"host", b"").decode("latin-1"), _HOST)
            return Misdirected(
                f"the host is {host!r}, expected localhost or a name that the server knows; start it with "
                "--allowed-host NAME or with an API key"
            )
        return None

    def _finished(self, scope: Scope, trace: Trace, status: int, size: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.answered(route, status, seconds, trace.truncated)
        if self._access_log is not None:
            client = scope.get("client")
            self._access_log.write(
                {
                    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "id": trace.id,
                    "client": client[0] if client else None,
                    "method": scope["method"],
                    "path": one_line(scope["path"], _PATH),
                    "status": status,
                    "ms": round(1e3 * seconds, 2),
                    "bytes": size,
                    "texts": trace.texts,
                    "tokens": trace.tokens,
                    "truncated": trace.truncated,
                }
            )


def _id_of(given: bytes | None) -> str:
    return given.decode() if given and _ID.fullmatch(given) else f"{getrandbits(128):032x}"  # no system call
