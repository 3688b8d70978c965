"""m3rt serve under load: idle overhead, throughput of many clients, short texts beside long ones, overload.

    python -m benchmarks.serve.load [BUNDLE] [--clients 32] [--seconds 10] [--repeats 5] [--longest 500]

The server is a process of its own on a loopback port; its clients, and in-process encode() beside it, are in this one,
so both share the CPUs; Linux only. "share" compares the tokens a second of all clients with those of one encode() over
the same texts. Clients are bare sockets: a client library costs more CPU than the server.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from m3rt import M3Encoder
from m3rt.bundle import DEFAULT
from m3rt.tuning.speed import text_of

from ..common import add_threads, interleaved, memory_of, options, regime, report, require

SHORT = (4, 32)  # tokens
_IDLE_TOKENS = 16
_IDLE_CALLS = 40  # of each repeat
_PAUSE_SECONDS = 1  # of a client that was refused, the least that the server asks for
_TEXTS = 1024  # of a closed loop, over again until time is up


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("model", nargs="?", default=DEFAULT)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--longest", type=int, default=500, help="tokens of the longest text")
    add_threads(parser)
    args = parser.parse_args()
    require("fastapi", "uvicorn")
    encoder = M3Encoder(args.model, threads=args.threads)
    conditions = regime(model=encoder.manifest.source.id, threads=args.threads, clients=args.clients)
    with server(args.model, args.threads) as (process, port):
        rows = [
            _idle(encoder, port, args.repeats),
            *_throughput(encoder, process.pid, port, args),
            *_beside_long_texts(encoder, port, args),
        ]
        rows.append(
            {"measure": "server's memory after it all, MB", "value": round(memory_of(process.pid)["Rss"] / 1e6)}
        )
    with server(args.model, args.threads, "--max-queue", "2000") as (_, port):
        rows += _overload(encoder, port, args)
    report("m3rt serve under load", rows, conditions)


@contextmanager
def server(model: str, threads: int, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that is ready, and its port."""
    command = [sys.executable, "-m", "m3rt", "serve", str(model), "--port", "0", "--threads", str(threads), *more]
    process = subprocess.Popen([*command, "--no-access-log"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.search(r":(\d+);", line := process.stderr.readline())
        if not found:
            raise SystemExit(f"the server did not start: {line.strip()}")
        _wait(int(found[1]))
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)


def _idle(encoder: M3Encoder, port: int, repeats: int) -> dict[str, Any]:
    """The median of one request at a time, beside encode()."""
    text = text_of(encoder, _IDLE_TOKENS, 0)
    body, connection = json.dumps({"input": text}), http.client.HTTPConnection("127.0.0.1", port)

    def served() -> None:
        connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        connection.getresponse().read()

    calls = {"served": served, "encode": lambda: encoder.encode(text)}
    seconds = interleaved(calls, repeats * _IDLE_CALLS)
    served_ms, encode_ms = (1e3 * statistics.median(seconds[name]) for name in ("served", "encode"))
    return {
        "measure": f"idle, {_IDLE_TOKENS} tokens, dense JSON, p50 ms", "value": round(served_ms, 2),
        "beside": f"encode {encode_ms:.2f}, overhead {served_ms - encode_ms:.2f}",
    }  # fmt: skip


def _throughput(encoder: M3Encoder, pid: int, port: int, args: Any) -> Iterator[dict[str, Any]]:
    for name, longest in (("short", SHORT[1]), ("mixed", args.longest)):
        texts = _texts(encoder, _TEXTS, SHORT[0], longest)
        tokens = [len(encoder.tokenize(text)) for text in texts]
        served, alone, served_cpu, alone_cpu = [], [], [], []
        for _ in range(args.repeats):  # in turns, since neighbours on this machine come and go
            cpu = _cpu_seconds(pid)
            answers = asyncio.run(_closed_loop(port, texts, args.clients, args.seconds / args.repeats))
            count = sum(tokens[i] for i, _, _ in answers)
            served.append(count / max(end for _, _, end in answers))
            served_cpu.append(1e6 * (_cpu_seconds(pid) - cpu) / count)
            began, cpu = time.perf_counter(), time.process_time()
            encoder.encode([texts[i] for i, _, _ in answers])
            alone.append(count / (time.perf_counter() - began))
            alone_cpu.append(1e6 * (time.process_time() - cpu) / count)
        fast, slow, fast_cpu, slow_cpu = map(statistics.median, (alone, served, alone_cpu, served_cpu))
        yield {
            "measure": f"{name}, {SHORT[0]}-{longest} tokens, {args.clients} clients, tokens/s", "value": round(slow),
            "beside": f"encode {fast:.0f}, share {slow / fast:.0%}; CPU us a token {slow_cpu:.0f} and {fast_cpu:.0f}",
        }  # fmt: skip


def _cpu_seconds(pid: int) -> float:
    """What the threads of a process have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _beside_long_texts(encoder: M3Encoder, port: int, args: Any) -> Iterator[dict[str, Any]]:
    """Latency of clients with short texts, alone and beside as many with long ones."""
    short = _texts(encoder, 256, *SHORT)
    long = _texts(encoder, 64, args.longest // 2, args.longest)
    half = args.clients // 2

    async def both(with_long: bool) -> list[float]:
        others = _closed_loop(port, long, half, args.seconds) if with_long else asyncio.sleep(0)
        answers, _ = await asyncio.gather(_closed_loop(port, short, half, args.seconds), others)
        return [seconds for _, seconds, _ in answers]

    for name, with_long in (("alone", False), ("beside long ones", True)):
        p50, p99 = _quantiles(asyncio.run(both(with_long)))
        yield {
            "measure": f"short texts {name}, {half} clients, p50 ms",
            "value": round(p50, 1),
            "beside": f"p99 {p99:.1f}",
        }


def _overload(encoder: M3Encoder, port: int, args: Any) -> Iterator[dict[str, Any]]:
    """Ten times the clients at a queue of 2000 tokens: how long those wait who are accepted, and the refused."""
    texts = _texts(encoder, 256, *SHORT)
    for clients in (args.clients, 10 * args.clients):
        answers = asyncio.run(_closed_loop(port, texts, clients, args.seconds, refusals := []))
        p50, p99 = _quantiles([seconds for _, seconds, _ in answers])
        refused = f", {len(refusals)} refused in {1e3 * statistics.median(refusals):.1f} ms" if refusals else ""
        yield {
            "measure": f"queue of 2000 tokens, {clients} clients, p50 ms", "value": round(p50, 1),
            "beside": f"p99 {p99:.1f}, {len(answers)} answered{refused}",
        }  # fmt: skip


def _texts(encoder: M3Encoder, count: int, shortest: int, longest: int) -> list[str]:
    lengths = random.Random(0)
    return [text_of(encoder, lengths.randint(shortest, longest), seed) for seed in range(count)]


async def _closed_loop(
    port: int, texts: Sequence[str], clients: int, seconds: float, refusals: list[float] | None = None
) -> list[tuple[int, float, float]]:
    """Clients that each send the next text when they have an answer: of each its text, its seconds and when it came.

    refusals: gets the seconds of each answer that is 429; another status than that and 200 ends the run.
    """
    requests = [_request(text) for text in texts]
    order, began = itertools.count(), time.perf_counter()
    answers: list[tuple[int, float, float]] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) - began < seconds:
            i = next(order) % len(texts)
            writer.write(requests[i])
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head)
            assert size is not None
            await reader.readexactly(int(size[1]))
            now = time.perf_counter()
            status = head.split(b" ", 2)[1]
            if status == b"200":
                answers.append((i, now - start, now - began))
            elif status == b"429" and refusals is not None:
                refusals.append(now - start)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                raise SystemExit(f"the server answered {head.splitlines()[0].decode()}")
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def _request(text: str) -> bytes:
    body = json.dumps({"input": text, "encoding_format": "base64"}).encode()
    head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in ms."""
    cuts = statistics.quantiles(seconds, n=100)
    return 1e3 * cuts[49], 1e3 * cuts[98]


if __name__ == "__main__":
    main()
