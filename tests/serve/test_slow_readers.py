"""Clients and pipes that nobody reads: they hold what they hold for a while, and keep nobody else waiting."""

import json
import os
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import running

from m3rt import M3Encoder

pytest.importorskip("fastapi", reason="needs the 'server' extra")
httpx = pytest.importorskip("httpx")

from m3rt.serve.access_log import AccessLog  # noqa: E402
from m3rt.serve.limits import Limits  # noqa: E402
from m3rt.serve.service import Service  # noqa: E402

ASKED = {"inputs": ["some words of a text " * 20] * 16}  # answered by megabytes


def asking(address: str) -> socket.socket:
    """A client that has sent a request and reads nothing."""
    parts = urlsplit(address)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((parts.hostname, parts.port))
    body = json.dumps(ASKED).encode()
    head = "POST /embed_all HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    sock.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return sock


def test_an_answer_counts_until_it_is_sent_and_is_given_up_when_nobody_reads_it(tiny: M3Encoder) -> None:
    service = Service(tiny, limits=Limits(send_seconds=2.0))
    with running(service) as address, asking(address):
        while service.held.bytes <= 1 << 20:  # the answer, not the request
            time.sleep(0.01)
        while service.held.bytes:
            time.sleep(0.01)
        assert httpx.post(f"{address}/embed", json={"inputs": "x"}).status_code == 200


def test_a_client_that_does_not_read_does_not_keep_the_server_from_ending(tiny: M3Encoder) -> None:
    service = Service(tiny, limits=Limits(send_seconds=0.5, seconds=600))
    with running(service) as address:
        sock = asking(address)
        while service.held.bytes <= 1 << 20:
            time.sleep(0.01)
    sock.close()  # only now: running() has seen the server end


def test_a_client_that_reads_slowly_gets_everything(tiny: M3Encoder) -> None:
    service = Service(tiny, limits=Limits(send_seconds=5.0))
    with running(service) as address:
        whole = httpx.post(f"{address}/embed_all", json=ASKED, timeout=60).content
        with asking(address) as sock:
            time.sleep(0.5)
            data = b""
            while len(data) < len(whole) or not data.endswith(whole[-100:]):
                data += sock.recv(1 << 16)
        assert data.endswith(whole)


def test_a_log_that_nobody_reads_drops_lines_and_blocks_nobody() -> None:
    reading, writing = os.pipe()
    log = AccessLog(writing)
    with log:
        for i in range(30_000):
            log.write({"i": i, "path": "x" * 100})
        assert log.dropped > 10_000
    os.set_blocking(reading, False)
    first = os.read(reading, 1 << 16).splitlines()
    assert [json.loads(line)["i"] for line in first[:100]] == list(range(100))
    os.close(reading)  # which ends the thread's write


def test_a_log_that_is_read_is_whole_when_it_closes() -> None:
    reading, writing = os.pipe()
    found: list[Any] = []

    def read() -> None:
        with open(reading, "rb") as file:
            found.extend(json.loads(line)["i"] for line in file)

    reader = threading.Thread(target=read)
    reader.start()
    with AccessLog(writing) as log:
        for i in range(5000):
            log.write({"i": i, "path": "x" * 100})
    os.close(writing)
    reader.join(60)
    assert found == list(range(5000))
