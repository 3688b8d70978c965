"""Listen until told to stop: then no new connections, and every request that was accepted is answered."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
from starlette.types import ASGIApp

from ..errors import OutputError
from .connection import connection_of
from .limits import Limits

_BACKLOG = 2048  # connections that may wait to be accepted


class Server(uvicorn.Server):
    """uvicorn, which would end itself by the signal that stopped it: here the process ends as it wishes."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach a server that listens there."""
    return ip_address(listener.getsockname()[0]).is_loopback


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: any free one. Raises OutputError for one that is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, since asyncio turns Nagle's delay off for such sockets alone: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # two may bind one port, but not listen there
    except (OSError, OverflowError, UnicodeError) as error:
        listener.close()
        raise OutputError(f"cannot listen on {host} port {port}: {error}; give another --host or --port") from None
    return listener


def server_of(app: ASGIApp, limits: Limits) -> Server:
    """A server whose only log is the app's."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on", ws="none",
        timeout_graceful_shutdown=limits.drain_seconds, timeout_keep_alive=75, backlog=_BACKLOG,
        http=connection_of(limits.send_seconds),
    )  # fmt: skip
    return Server(config)


def serve(app: ASGIApp, listener: socket.socket, limits: Limits) -> None:
    """Answer requests until SIGTERM or SIGINT; a second one ends it at once."""
    server = server_of(app, limits)
    gc.collect()
    gc.freeze()  # the app stays; looking through all of it now and then takes 40 ms, in which nobody is answered
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:  # uvloop, where it is installed
        runner.run(_serve(server, listener))


async def _serve(server: Server, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    await server.serve(sockets=[listener])
