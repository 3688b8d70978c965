"""A connection whose client has to read: uvicorn's own would wait for ever."""

# mypy: disable-error-code="misc,valid-type,no-any-return"

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


class Connection(AutoHTTPProtocol):
    """uvicorn's, ended where what is sent next is not taken within send_seconds.

    The system's buffer takes an answer, or a piece of it, and what it does not take pauses writing.
    """

    send_seconds: float

    def connection_made(self, transport: Any) -> None:
        self._late: asyncio.TimerHandle | None = None
        self._pipe = transport
        transport.set_write_buffer_limits(0)  # so that nothing waits here unseen
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(self.send_seconds, self._pipe.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._on_time()

    def connection_lost(self, error: Exception | None) -> None:
        self._on_time()
        super().connection_lost(error)

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def connection_of(send_seconds: float) -> type[asyncio.Protocol]:
    """The class of connections with that timeout."""
    return type("Connection", (Connection,), {"send_seconds": send_seconds})
