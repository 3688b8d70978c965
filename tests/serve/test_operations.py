"""Keys, many clients at once, overload, clients who go, probes, metrics, the log, and how the server ends."""

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from amount import scaled
from own_lines import own_lines
from serving import running
from slow_engine import Slow, closed

from m3rt import EngineError, InputError, M3Encoder, OutputError
from m3rt.cli import main
from m3rt.serve.keys import Keys
from m3rt.serve.limits import Limits
from m3rt.serve.metrics import Metrics
from m3rt.serve.run import bound, is_loopback
from m3rt.serve.service import Service

pytest.importorskip("fastapi", reason="needs the 'server' extra")
httpx = pytest.importorskip("httpx")

CLOSE = 2e-2  # between results of an int8 bundle in other batches
M3RT = str(Path(sysconfig.get_path("scripts")) / "m3rt")


def service_of(tiny: M3Encoder, engine: Slow, **limits: Any) -> Service:
    return Service(M3Encoder.with_engine(tiny.bundle, engine), limits=Limits(**limits))


@pytest.fixture(scope="module")
def guarded(tiny: M3Encoder) -> Iterator[str]:
    with running(Service(tiny), keys=Keys(["first-key", "zweiter-schlüssel"])) as address:
        yield address


@pytest.mark.parametrize("value", ["Bearer first-key", "bearer first-key", "first-key", "Bearer zweiter-schlüssel"])
def test_every_key_opens_with_bearer_and_without(value: str, guarded: str) -> None:
    headers = {"authorization": value.encode()}
    assert httpx.post(f"{guarded}/embed", json={"inputs": "x"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer wrong", "Basic first-key", "first-key2", "Bearer first-key x"]
)
def test_without_a_key_there_is_only_the_dialects_401(value: str | None, guarded: str) -> None:
    headers = {} if value is None else {"authorization": value}
    for method, path in (("POST", "/embed"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/nothing")):
        answer = httpx.request(method, f"{guarded}{path}", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert httpx.post(f"{guarded}/embed", headers=headers).json().keys() == {"error", "error_type"}
    for path in ("/live", "/ready", "/health", "/"):
        assert httpx.get(f"{guarded}{path}", headers=headers).status_code == 200


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# keys\n one \n\ntwo\n  # indented\n")
    keys = Keys.of(tmp_path / "keys", "three, four five")
    assert all(keys.admit(name.encode()) for name in ("one", "two", "three", "four", "five"))
    assert not any(keys.admit(name) for name in (b"# keys", b"# indented", b"", None, b"six"))
    assert Keys.of(None, None).admit(None)
    for nothing in ("", " ", " ,"):
        with pytest.raises(InputError, match=r"^M3RT_API_KEY is set but holds no key; put one in it[^\n]*$"):
            Keys.of(None, nothing)
    (tmp_path / "empty").write_text(" # none\n")
    with pytest.raises(InputError, match="holds no API key, expected one a line"):
        Keys.of(tmp_path / "empty", None)
    with pytest.raises(InputError, match="cannot be read as a file of API keys"):
        Keys.of(tmp_path / "nowhere", None)


def test_many_clients_get_what_encode_gives(client: Any, address: str, tiny: M3Encoder) -> None:
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyzäöü")
    lengths = [rng.integers(1, 100, rng.integers(1, 5)) for _ in range(48)]
    texts = [[" ".join(["".join(rng.choice(letters, 5))] * n) for n in some] for some in lengths]
    everything = tiny.encode([text for some in texts for text in some]).dense_vecs
    assert everything is not None
    nearest = np.abs(everything[:, None] - everything).max(2) + 9 * np.eye(len(everything))
    assert nearest.min() > 2 * CLOSE  # so that an answer to another text does not pass

    async def everyone() -> list[Any]:
        async with httpx.AsyncClient(base_url=address, timeout=120) as many:
            return await asyncio.gather(*(many.post("/embed", json={"inputs": some}) for some in texts))

    for some, answer in zip(texts, asyncio.run(everyone()), strict=True):
        assert answer.status_code == 200
        expected = tiny.encode(some).dense_vecs
        assert expected is not None
        np.testing.assert_allclose(np.array(answer.json(), np.float32), expected, atol=CLOSE)


def test_a_full_queue_is_a_429_with_retry_after_and_the_accepted_are_answered(tiny: M3Encoder, slow: Slow) -> None:
    service = service_of(tiny, slow, queue_tokens=100)
    with running(service) as address:

        async def burst() -> list[Any]:
            async with httpx.AsyncClient(base_url=address, timeout=60) as many:
                closed(slow)
                tasks = [asyncio.ensure_future(many.post("/v1/embeddings", json={"input": "x y z"})) for _ in range(60)]
                refused: list[Any] = []
                while len(refused) < 20:  # at once: the engine does not move
                    refused = [task for task in tasks if task.done()]
                    await asyncio.sleep(0.01)
                slow.open.set()
                return await asyncio.gather(*tasks)

        answers = asyncio.run(burst())
        counts = {status: sum(a.status_code == status for a in answers) for status in (200, 429)}
        assert sum(counts.values()) == 60
        assert counts[200] >= 10
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert httpx.post(f"{address}/embed", json={"inputs": "x"}).status_code == 200


def test_a_request_that_would_wait_too_long_is_refused_before_its_body_comes(tiny: M3Encoder, slow: Slow) -> None:
    service = service_of(tiny, slow, wait_seconds=1e-9)
    with running(service) as address:
        closed(slow)
        early = [service.queue.submit(tiny.prepare("a text"))]
        assert slow.entered.acquire(timeout=60)
        early.append(service.queue.submit(tiny.prepare("another one")))
        slow.open.set()
        wait(early, 60)  # the second one waited, so that the speed is known
        closed(slow)
        first = threading.Thread(target=lambda: httpx.post(f"{address}/embed", json={"inputs": "x"}, timeout=60))
        first.start()
        assert slow.entered.acquire(timeout=60)
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as alone:
            alone.sendall(b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n")
            head = alone.recv(4096)
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: " in head
        slow.open.set()
        first.join()
        assert httpx.post(f"{address}/embed", json={"inputs": "x"}, timeout=60).status_code == 200
        assert service.queue.cost == 0


def test_who_waits_too_long_gets_a_503_with_retry_after(tiny: M3Encoder, slow: Slow) -> None:
    with running(service_of(tiny, slow, seconds=0.05)) as address, httpx.Client(base_url=address, timeout=60) as client:
        closed(slow)
        blocker = threading.Thread(target=lambda: client.post("/embed", json={"inputs": "first"}))
        blocker.start()
        assert slow.entered.acquire(timeout=60)
        threading.Timer(0.3, slow.open.set).start()
        answer = client.post("/v2/embed", json={"texts": ["late"]})
        blocker.join()
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["message"] == "the request was not answered before its deadline; try again later"


def test_an_engine_that_fails_is_a_503_and_ready_says_so(tiny: M3Encoder, slow: Slow) -> None:
    with running(service_of(tiny, slow)) as address, httpx.Client(base_url=address, timeout=60) as client:
        slow.broken = True
        answer = client.post("/embed", json={"inputs": "x"})
        assert (answer.status_code, answer.json()) == (503, {"error": "no memory", "error_type": "Backend"})
        time.sleep(1.1)  # the last success counts for a second
        assert client.get("/ready").status_code == 503
        assert client.get("/live").status_code == 200
        slow.broken = False
        assert client.get("/ready").status_code == 200


def test_clients_who_go_leave_nothing_in_the_queue(tiny: M3Encoder, slow: Slow) -> None:
    service = service_of(tiny, slow)
    with running(service) as address:
        closed(slow)

        async def leave() -> None:
            async with httpx.AsyncClient(base_url=address, timeout=60) as many:
                tasks = [asyncio.ensure_future(many.post("/embed", json={"inputs": ["x"] * 50})) for _ in range(30)]
                while service.queue.texts < 27 * 50:  # the pass that runs has taken the others
                    await asyncio.sleep(0.01)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            while service.queue.cost:
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(leave(), 60))
        passes = slow.passes
        slow.open.set()
        assert httpx.post(f"{address}/embed", json={"inputs": "x"}).status_code == 200
        assert slow.passes <= passes + 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_clients_killed_in_mid_request_leave_nothing_open(tiny: M3Encoder) -> None:
    service = Service(tiny)
    with running(service) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        httpx.post(f"{address}/embed", json={"inputs": "x"}, timeout=60)
        before = len(os.listdir("/proc/self/fd"))
        body = json.dumps({"inputs": ["some words " * 20] * 20}).encode()
        head = "POST /v1/encode HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        whole = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        parts = [whole[:20], whole[: -len(body)], whole[:-1], whole, whole]
        for i in range(scaled(50)):
            sock = socket.create_connection((host, int(port)), timeout=60)
            sock.sendall(parts[i % len(parts)])
            if i % len(parts) == 4:
                sock.recv(100)  # in the middle of the answer
            if i % 2:  # as the system ends a connection with bytes that its process did not read
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        until = time.monotonic() + 60
        while len(os.listdir("/proc/self/fd")) > before or service.queue.cost or service.held.bytes:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert httpx.post(f"{address}/embed", json={"inputs": "x"}, timeout=60).status_code == 200


def test_metrics_count_requests_passes_refusals_and_memory(tiny: M3Encoder) -> None:
    metrics = Metrics()
    service = Service(tiny, on_pass=metrics.passed)
    with running(service, metrics) as address, httpx.Client(base_url=address) as client:
        client.post("/embed", json={"inputs": ["one", "two words"]})
        client.post("/embed", json={})
        text = client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['m3rt_requests_total{route="/embed",status="200"}'] == "1.0"
    assert values['m3rt_refused_total{status="400"}'] == "1.0"
    assert float(values["m3rt_texts_total"]) == 3  # with the one that made the server ready
    assert float(values["m3rt_pass_tokens_sum"]) == sum(len(tiny.tokenize(t)) for t in ("one", "two words", "ready?"))
    assert {
        "m3rt_queue_tokens",
        "m3rt_padding_tokens_total",
        'm3rt_request_seconds_count{route="/embed"}',
    } <= values.keys()
    if sys.platform == "linux":
        assert float(values["process_resident_memory_bytes"]) > 1e6


def test_a_request_keeps_the_id_that_it_came_with(client: Any) -> None:
    assert client.get("/live", headers={"x-request-id": "abc-123"}).headers["x-request-id"] == "abc-123"
    odd = client.get("/live", headers={"x-request-id": "a b" * 100}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", odd)


def test_no_answer_allows_other_origins(client: Any) -> None:
    headers = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client.post("/embed", json={"inputs": "x"}, headers=headers).headers
    assert client.options("/embed", headers=headers).status_code == 405


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("127.1", True), ("localhost", True), ("0.0.0.0", False), ("0", False)]
)
def test_whether_other_machines_reach_it_is_read_from_the_bound_address(host: str, here: bool) -> None:
    with bound(host, 0) as listener:
        assert is_loopback(listener) == here


def test_a_name_that_only_begins_like_loopback_is_not_taken_for_it() -> None:
    class Elsewhere:
        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.7", 80  # as localhost.example may resolve

    assert not is_loopback(cast(socket.socket, Elsewhere()))


@contextmanager
def command(*args: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """m3rt serve on a free port: the process, its address, and what it says on stderr before that."""
    process = subprocess.Popen(
        [M3RT, "serve", "--port", "0", "--threads", "1", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    lines: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://(\S+?);", line):
                break
        address = f"http://{found[1]}" if found else ""
        while process.poll() is None:
            try:
                httpx.get(f"{address}/ready", timeout=60)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield process, address, lines
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_status_0(number: int) -> None:
    with command() as (process, address, _):

        async def load() -> list[Any]:
            async with httpx.AsyncClient(base_url=address, timeout=120) as many:
                texts = {"inputs": ["a text of some words " * 10] * 100}
                tasks = [asyncio.ensure_future(many.post("/embed", json=texts)) for _ in range(8)]
                while "m3rt_queue_tokens 0.0" in (await many.get("/metrics")).text:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                process.send_signal(number)
                return await asyncio.gather(*tasks, return_exceptions=True)

        answers = asyncio.run(load())
        assert [getattr(answer, "status_code", answer) for answer in answers] == [200] * 8
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, own_lines(stderr)) == (0, "")
        logged = [json.loads(line) for line in stdout.splitlines()]
        assert sum(line["path"] == "/embed" and line["status"] == 200 for line in logged) == 8


def test_the_log_has_a_json_line_for_each_request_and_no_text_or_key() -> None:
    with command(M3RT_API_KEY="hidden-key") as (process, address, _):
        headers = {"authorization": "Bearer hidden-key", "x-request-id": "mine"}
        httpx.post(f"{address}/embed?q=hidden-query", json={"inputs": ["hidden words", "two"]}, headers=headers)
        httpx.get(f"{address}/a%0Ab", headers=headers)
        process.terminate()
        stdout, _ = process.communicate(timeout=60)
    assert "hidden" not in stdout
    lines = [json.loads(line) for line in stdout.splitlines()]
    (line,) = [line for line in lines if line["path"] == "/embed"]
    assert {key: line[key] for key in ("id", "method", "status", "texts", "client")} == {
        "id": "mine", "method": "POST", "status": 200, "texts": 2, "client": "127.0.0.1",
    }  # fmt: skip
    assert line["tokens"] > 4
    assert "/a b" in [line["path"] for line in lines]


def test_listening_elsewhere_without_a_key_is_warned_of() -> None:
    with command("--host", "0.0.0.0") as (_, _, lines):
        assert "warning: other machines can reach 0.0.0.0 and no API key is set" in lines[0]
    with command("--host", "0.0.0.0", M3RT_API_KEY="k") as (_, _, lines):
        assert len(lines) == 1


def test_a_stdout_that_nobody_reads_keeps_no_request_waiting_and_the_server_ends() -> None:
    with command() as (process, address, _), httpx.Client(base_url=address, timeout=20) as client:
        for _ in range(500):  # more lines than a pipe holds
            assert client.get("/live", headers={"x-request-id": "x" * 128}).status_code == 200
        client.close()
        process.terminate()
        assert process.wait(60) == 0


def test_a_port_that_another_server_has_bound_is_refused_before_anything_is_loaded() -> None:
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=f"^cannot listen on 127.0.0.1 port {port}: [^\n]*$"):
            bound("127.0.0.1", port)


@pytest.mark.parametrize("error", [EngineError("no memory"), RuntimeError("no compiler")])
def test_a_first_inference_that_fails_is_one_line_and_status_2(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(M3Encoder, "prepare", fail)
    assert main(["serve", "--port", "0", "--no-access-log"]) == 2
    assert re.fullmatch(rf"m3rt: error: [^\n]*{error}[^\n]*\n", capsys.readouterr().err)


def test_it_waits_for_accepted_requests_as_long_as_they_may_take() -> None:
    assert [Limits(seconds=seconds).drain_seconds - seconds for seconds in (1, 120, 3600)] == [5, 5, 5]


def test_what_cannot_start_says_so_in_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert re.fullmatch(rf"m3rt: error: cannot listen on 127.0.0.1 port {port}: .*\n", capsys.readouterr().err)
    assert main(["serve", "--port", "0", "--index", str(tmp_path / "nowhere")]) == 2
    assert re.fullmatch(r"m3rt: error: .*nowhere.*\n", capsys.readouterr().err)
    assert main(["serve", "--port", "0", str(tmp_path)]) == 2
    assert re.fullmatch(r"m3rt: error: [^\n]*\n", capsys.readouterr().err)
