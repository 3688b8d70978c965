"""m3rt serve beside two servers of the same dense checkpoint: infinity, and plain FastAPI with sentence-transformers.

    python -m benchmarks.serve.peers BUNDLE CHECKPOINT --python VENV/bin/python [--clients 32] [--seconds 10]
        [--repeats 3] [--longest 128] [--threads 2] [--passes 1]

BUNDLE is what m3rt export made of CHECKPOINT. VENV is another environment, in which
`pip install "infinity-emb[torch,server]"` has run; it needs no network afterwards. All three servers run at once and
take the load in turns, since neighbours on this machine come and go. Parity: the least cosine between the vectors of
each server and those of encode().
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray

from m3rt import M3Encoder
from m3rt.tuning.load import Target, closed_loop, summary

from ..common import add_threads, options, regime, report
from .load import SHORT, shared, texts_of

_TEXTS = 512
_COMPARED = 16  # texts of which vectors are compared
_START_SECONDS = 300


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--python", type=Path, required=True, help="of an environment with the peers")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--longest", type=int, default=128, help="tokens of the longest text")
    parser.add_argument("--passes", type=int, default=1, help="m3rt serve's, which share the threads")
    add_threads(parser)
    args = parser.parse_args()
    encoder = M3Encoder(args.bundle, threads=args.threads)
    texts = texts_of(encoder, _TEXTS, SHORT[0], args.longest)
    expected = encoder.encode(texts[:_COMPARED]).dense_vecs
    assert expected is not None
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with ExitStack() as stack:
        urls = {name: stack.enter_context(_running(name, args)) for name in _COMMANDS}
        cosines = {
            name: float((_vectors(url, texts[:_COMPARED]) * expected).sum(1).min()) for name, url in urls.items()
        }
        for _ in range(args.repeats):
            for name, url in urls.items():
                answers = asyncio.run(closed_loop(Target(url), texts, args.clients, args.seconds))
                found[name].append(summary(answers))
    medians = {name: _medians(rounds) for name, rounds in found.items()}
    ours = medians["m3rt"]
    rows = [
        {
            "server": name, "requests/s": round(row["requests_per_s"], 1), "p50 ms": round(row["p50_ms"], 1),
            "p99 ms": round(row["p99_ms"], 1), "errors": row["errors"], "cosine": round(cosines[name], 5),
            "m3rt's throughput": f"{ours['requests_per_s'] / row['requests_per_s']:.2f}x",
            "m3rt's p99": f"{ours['p99_ms'] / row['p99_ms']:.2f}x",
        }
        for name, row in medians.items()
    ]  # fmt: skip
    conditions = regime(bundle=str(args.bundle), precision=encoder.manifest.precision, threads=args.threads)
    conditions["passes"] = args.passes
    tokens = f"{SHORT[0]}-{args.longest}"
    report("m3rt serve beside its peers", rows, {**conditions, "clients": args.clients, "tokens": tokens})


def _m3rt(args: Any, port: int) -> list[str]:
    command = [sys.executable, "-m", "m3rt", "serve", str(args.bundle), "--port", str(port), "--no-access-log"]
    return [*command, *shared(args.threads, args.passes)]


def _infinity(args: Any, port: int) -> list[str]:
    command = [str(args.python.parent / "infinity_emb"), "v2", "--model-id", str(args.checkpoint), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--url-prefix", "/v1", "--served-model-name", "m", "--engine", "torch"]
    return [*command, "--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--log-level", "error"]


def _plain(args: Any, port: int) -> list[str]:
    script = Path(__file__).with_name("plain_server.py")
    return [str(args.python), str(script), str(args.checkpoint), str(port), str(args.threads)]


_COMMANDS = {"m3rt": _m3rt, "infinity": _infinity, "FastAPI + sentence-transformers": _plain}


@contextmanager
def _running(name: str, args: Any) -> Iterator[str]:
    """A server that has answered once, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    process = subprocess.Popen(_COMMANDS[name](args, port), stdout=subprocess.DEVNULL, env=environment)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + _START_SECONDS
        while True:
            try:
                _vectors(url, ["ready?"])
                break
            except (URLError, ConnectionError):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{name} did not start: {' '.join(_COMMANDS[name](args, port))}") from None
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def _vectors(url: str, texts: Sequence[str]) -> NDArray[np.float32]:
    body = json.dumps({"input": list(texts), "model": "m", "encoding_format": "float"}).encode()
    request = Request(f"{url}/v1/embeddings", body, {"content-type": "application/json"})
    with urlopen(request, timeout=_START_SECONDS) as answer:
        data = json.load(answer)["data"]
    return np.array([row["embedding"] for row in sorted(data, key=lambda row: row["index"])], np.float32)


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: statistics.median(row[name] for row in rounds)
        for name in ("requests_per_s", "p50_ms", "p99_ms", "errors")
    }


if __name__ == "__main__":
    main()
