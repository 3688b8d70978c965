"""m3rt serve under load: idle overhead, throughput of many clients, short texts beside long ones, overload, memory.

    python -m benchmarks.serve.load [BUNDLE] [--only MEASURE ...] [--clients 32] [--seconds 10] [--repeats 5]
        [--longest 500] [--threads 2] [--passes 1]

The server is a process of its own on a loopback port; its clients, and in-process encode() beside it, are in this one,
so both share the CPUs; Linux only. "share" compares the tokens a second of all clients with those of one encode() over
the same texts. "open" sends 70% of what all clients get, at random times. "overload" sends ten times as many clients as
--clients, in turns with as many as the server then had in hand, so that both wait for the same passes; these clients
are flood.py's. "memory" lasts ten times --seconds. Other clients are m3rt.tuning.load's bare sockets: a client library
costs more CPU than the server.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from m3rt import M3Encoder
from m3rt.bundle import DEFAULT
from m3rt.tuning.load import Answer, Target, closed_loop, open_loop, summary
from m3rt.tuning.speed import text_of

from ..common import add_threads, interleaved, memory_of, options, regime, report, require
from .flood import Flood, flood

SHORT = (4, 32)  # tokens
_IDLE_TOKENS = 16
_IDLE_CALLS = 40  # of each repeat
_SETTLING_SECONDS = 2.0
_PARTS = 5  # of the time in which memory is watched
_TEXTS = 1024  # of a closed loop, over again until time is up


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("model", nargs="?", default=DEFAULT)
    parser.add_argument("--only", nargs="+", choices=_MEASURES, default=list(_MEASURES), metavar="MEASURE",
                        help=", ".join(_MEASURES))  # fmt: skip
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--longest", type=int, default=500, help="tokens of the longest text")
    parser.add_argument("--max-wait", type=float, default=0.1, help="seconds; m3rt serve's option under overload")
    parser.add_argument("--passes", type=int, default=1, help="m3rt serve's, which share the threads")
    add_threads(parser)
    args = parser.parse_args()
    require("fastapi", "uvicorn")
    encoder = M3Encoder(args.model, threads=args.threads)
    if args.longest > (most := encoder.manifest.max_tokens):
        parser.error(f"--longest is {args.longest}, expected at most the {most} tokens that {args.model} takes")
    conditions = regime(
        model=encoder.manifest.source.id, threads=args.threads, passes=args.passes, clients=args.clients
    )
    rows: list[dict[str, Any]] = []
    for name in args.only:
        more = ["--max-wait", str(args.max_wait)] if name == "overload" else []
        with server(args.model, args.threads, *more, passes=args.passes) as (process, port):
            rows += _MEASURES[name](encoder, process.pid, port, args)
    report("m3rt serve under load", rows, conditions)


@contextmanager
def server(model: str, threads: int, *more: str, passes: int = 1) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that is ready, and its port; its passes share the threads."""
    command = [sys.executable, "-m", "m3rt", "serve", str(model), "--port", "0", *shared(threads, passes), *more]
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


def shared(threads: int, passes: int) -> list[str]:
    """The options of m3rt serve for passes that share so many threads."""
    return ["--threads", str(max(1, threads // passes)), "--passes", str(passes)]


def _wait(port: int) -> None:
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)


def _idle(encoder: M3Encoder, pid: int, port: int, args: Any) -> Iterator[dict[str, Any]]:
    """The median of one request at a time, beside encode()."""
    text = text_of(encoder, _IDLE_TOKENS, 0)
    body, connection = json.dumps({"input": text}), http.client.HTTPConnection("127.0.0.1", port)

    def served() -> None:
        connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        connection.getresponse().read()

    calls = {"served": served, "encode": lambda: encoder.encode(text)}
    seconds = interleaved(calls, args.repeats * _IDLE_CALLS)
    served_ms, encode_ms = (1e3 * statistics.median(seconds[name]) for name in ("served", "encode"))
    yield {
        "measure": f"idle, {_IDLE_TOKENS} tokens, dense JSON, p50 ms", "value": round(served_ms, 2),
        "beside": f"encode {encode_ms:.2f}, overhead {served_ms - encode_ms:.2f}",
    }  # fmt: skip


def _throughput(encoder: M3Encoder, pid: int, port: int, args: Any) -> Iterator[dict[str, Any]]:
    for name, longest in (("short", SHORT[1]), ("mixed", args.longest)):
        texts = texts_of(encoder, _TEXTS, SHORT[0], longest)
        tokens = [len(encoder.tokenize(text)) for text in texts]
        served, alone, served_cpu, alone_cpu = [], [], [], []
        for _ in range(args.repeats):  # in turns, since neighbours on this machine come and go
            cpu = _cpu_seconds(pid)
            answers = _answered(closed_loop(_target(port), texts, args.clients, args.seconds / args.repeats))
            count = sum(tokens[answer.text] for answer in answers)
            served.append(count / max(answer.end for answer in answers))
            served_cpu.append(1e6 * (_cpu_seconds(pid) - cpu) / count)
            began, cpu = time.perf_counter(), time.process_time()
            encoder.encode([texts[answer.text] for answer in answers])
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


def _beside_long_texts(encoder: M3Encoder, pid: int, port: int, args: Any) -> Iterator[dict[str, Any]]:
    """Latency of clients with short texts, alone and beside as many with long ones."""
    short = texts_of(encoder, 256, *SHORT)
    long = texts_of(encoder, 64, args.longest // 2, args.longest)
    half = args.clients // 2

    async def both(with_long: bool) -> list[Answer]:
        others = closed_loop(_target(port), long, half, args.seconds) if with_long else asyncio.sleep(0)
        answers, _ = await asyncio.gather(closed_loop(_target(port), short, half, args.seconds), others)
        return answers

    for name, with_long in (("alone", False), ("beside long ones", True)):
        yield _row(f"short texts {name}, {half} clients", _answered(both(with_long)))


def _open(encoder: M3Encoder, pid: int, port: int, args: Any) -> Iterator[dict[str, Any]]:
    """70% of the rate that a closed loop of clients gets, of texts of all lengths."""
    texts = texts_of(encoder, _TEXTS, SHORT[0], args.longest)
    alone = _answered(closed_loop(_target(port), texts, 1, args.seconds))
    yield _row("one client", alone)
    full = summary(_answered(closed_loop(_target(port), texts, args.clients, args.seconds)))["requests_per_s"]
    assert full is not None
    yield _row(
        f"open loop, {0.7 * full:.1f} a second", _answered(open_loop(_target(port), texts, 0.7 * full, args.seconds))
    )


def _overload(encoder: M3Encoder, pid: int, port: int, args: Any) -> Iterator[dict[str, Any]]:
    """Ten times as many clients as fill the queue, in turns with as many as the server had in hand of those."""
    texts, seconds = texts_of(encoder, 256, *SHORT), args.seconds / args.repeats
    flood(port, texts, args.clients, _SETTLING_SECONDS)  # after which the server knows its speed
    floods: dict[str, list[Flood]] = {"overload": [], "normal": []}
    for _ in range(args.repeats):
        floods["overload"].append(flood(port, texts, 10 * args.clients, seconds))
        began = time.perf_counter()
        _answered(closed_loop(_target(port), texts, 1, 0.01))
        recovery = time.perf_counter() - began
        floods["normal"].append(flood(port, texts, in_hand(floods["overload"]), seconds))
    p99 = {}
    for name, clients in (("normal", in_hand(floods["overload"])), ("overload", 10 * args.clients)):
        found = summary([answer for one in floods[name] for answer in one.answers])
        share = sum(one.cpu_seconds for one in floods[name]) / sum(one.seconds for one in floods[name])
        p99[name] = found["p99_ms"] or math.nan
        refused = f", {found['refused']} refused in {found['refused_p50_ms']:.1f} ms" if found["refused"] else ""
        yield {
            "measure": f"{name}, {clients} clients, at most {args.max_wait:g} s of waiting, p99 ms",
            "value": round(p99[name], 1),
            "beside": f"p50 {found['p50_ms']:.1f}, {found['answered']} answered{refused}, {found['errors']} errors; "
            f"clients took {share:.0%} of a CPU",
        }  # fmt: skip
    yield {"measure": "p99 under overload by normal p99", "value": round(p99["overload"] / p99["normal"], 2)}
    yield {"measure": "first answer after the overload, ms", "value": round(1e3 * recovery, 1)}
    yield {"measure": "server's memory after the overload, MB", "value": round(memory_of(pid)["Rss"] / 1e6)}


def in_hand(floods: list[Flood]) -> int:
    """How many requests that were answered the server had at a time (Little's law)."""
    waited = sum(answer.seconds for one in floods for answer in one.answers if answer.status == 200)
    return max(1, round(waited / sum(one.seconds for one in floods)))


def _memory(encoder: M3Encoder, pid: int, port: int, args: Any) -> Iterator[dict[str, Any]]:
    """The server's memory after each part of a long load of texts of all lengths."""
    texts, sizes = texts_of(encoder, _TEXTS, SHORT[0], args.longest), []
    for _ in range(2 * _PARTS):
        _answered(closed_loop(_target(port), texts, args.clients, 10 * args.seconds / (2 * _PARTS)))
        sizes.append(memory_of(pid)["Rss"] / 1e6)
    last = sizes[_PARTS:]
    yield {
        "measure": f"server's memory over {10 * args.seconds:g} s, MB", "value": round(sizes[-1]),
        "beside": f"{', '.join(f'{size:.0f}' for size in sizes)}; last half within {max(last) / min(last) - 1:.1%}",
    }  # fmt: skip


_MEASURES = {
    "idle": _idle, "throughput": _throughput, "beside": _beside_long_texts, "open": _open, "overload": _overload,
    "memory": _memory,
}  # fmt: skip


def _target(port: int) -> Target:
    return Target(f"http://127.0.0.1:{port}")


def _answered(load: Coroutine[Any, Any, list[Answer]]) -> list[Answer]:
    """The answers of a load; one that is not 200 ends the run."""
    answers = asyncio.run(load)
    if failed := [answer.status for answer in answers if answer.status != 200]:
        raise SystemExit(f"the server answered {failed[0]}, of {len(answers)} requests {len(failed)} like that")
    return answers


def _row(name: str, answers: list[Answer]) -> dict[str, Any]:
    found = summary(answers)
    p50, p99 = found["p50_ms"], found["p99_ms"]
    assert p50 is not None
    return {
        "measure": f"{name}, p50 ms",
        "value": round(p50, 1),
        "beside": f"p99 {p99:.1f}, {found['answered']} answered",
    }


def texts_of(encoder: M3Encoder, count: int, shortest: int, longest: int) -> list[str]:
    lengths = random.Random(0)
    return [text_of(encoder, lengths.randint(shortest, longest), seed) for seed in range(count)]


if __name__ == "__main__":
    main()
