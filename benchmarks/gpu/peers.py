"""m3rt beside its peers on one card: speed, latency, mixed lengths, memory, and the error of every view.

    python -m benchmarks.gpu.peers --checkpoint DIR --m3rt BUNDLE ... [--reranker DIR] [--steps speed memory ...]

Each peer is a process of its own, and a round calls each once. OUT.md and OUT.json are written after every round, and
--seconds ends the run between two rounds, so that one that is cut short keeps what was measured. A peer that
does not load is named with its reason. M3RT_DEVICE=cpu tries the script without a card, on a small checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..common import add_threads, options, regime, table, write_results
from ..encoder.peer_models import WORDS
from ..peer_process import PeerError, Worker
from ..peer_rounds import Measured, Rounds, start
from . import peer_models
from .peer_models import DEVICE, GEMM, ORACLE, PEERS

STEPS = ("latency", "speed", "mixed", "memory")
_LATENCY = (1, 16)
_LONGEST = (8, 8192)


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"title": "Peers on a card", "conditions": {}, "rows": [], "missing": {}}
    with tempfile.TemporaryDirectory() as scratch, (args.work / "peers.log").open("w") as log:
        if "memory" in args.steps:
            result["rows"] += list(_memory(args, log, result["missing"]))
        if set(args.steps) - {"memory"}:
            for rows in _speed(args, log, result["missing"], Path(scratch)):
                kept = [row for row in result["rows"] if row["step"] == "memory"]
                result |= {"conditions": _conditions(args, rows), "rows": kept + rows}
                write_results(args.out, _markdown(result), result)
        result["conditions"] = result["conditions"] or _conditions(args, [])
        write_results(args.out, _markdown(result), result)
    print(_markdown(result))


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--reranker", type=Path, default=Path("reranker"), help="checkpoint of FlagReranker's peer")
    parser.add_argument("--m3rt", action="append", required=True, metavar="BUNDLE")
    parser.add_argument("--work", type=Path, default=Path(".cache/gpu"), help="keeps converted models and the log")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument(
        "--shapes", nargs="+", type=_shape, default=[(1, 16), (8, 128), (64, 256), (256, 512), (64, 512), _LONGEST]
    )
    parser.add_argument("--mixed", type=_shape, default=(256, 512), help="texts, and tokens of the longest")
    parser.add_argument("--longest", type=_shape, default=_LONGEST, help="texts and tokens of the memory step")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--queries", type=int, default=300, help="of the latency step")
    parser.add_argument("--seconds", type=float, default=540.0)
    add_threads(parser)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu"))
    return parser.parse_args()


def _shape(text: str) -> tuple[int, int]:
    batch, _, length = text.partition("x")
    return int(batch), int(length)


def _task(args: argparse.Namespace) -> dict[str, Any]:
    inputs = {"checkpoint": str(args.checkpoint), "lite": str(args.reranker), "work": str(args.work)}
    return {"models": peer_models.__name__, **inputs, "threads": args.threads}


def _speed(
    args: argparse.Namespace, log: Any, missing: dict[str, str], scratch: Path
) -> Iterator[list[dict[str, Any]]]:
    """The rows so far, after every round."""
    end = time.monotonic() + args.seconds
    workers, unable = start(_task(args), args.m3rt, args.peers, log)
    missing |= unable
    shapes = [("latency", _LATENCY, args.queries)] * ("latency" in args.steps)
    shapes += [("speed", shape, args.repeats) for shape in args.shapes if "speed" in args.steps]
    shapes += [("mixed", args.mixed, args.repeats)] * ("mixed" in args.steps)
    done: list[dict[str, Any]] = []
    for step, shape, repeats in shapes:
        measured, request = Measured(shape), _request(shape, step == "mixed")
        rows: list[dict[str, Any]] = []
        for turn in Rounds(request, repeats).run(measured, workers, {}, missing, scratch):
            if step == "latency" and turn + 1 < repeats and time.monotonic() < end:
                continue
            rows = _rows(args, step, measured, _tokens(args, request))
            yield done + rows
            if time.monotonic() > end:
                break
        done += rows
    for worker in workers:
        if not worker.dead:
            worker.close()


def _request(shape: tuple[int, int], mixed: bool) -> dict[str, Any]:
    batch, length = shape
    draw = np.random.default_rng(length)
    words = draw.integers(4, length // 2, batch) if mixed else [length] * batch  # a word has one token or more
    return {"texts": [" ".join(draw.choice(WORDS.split(), n)) for n in words], "length": length, "inner": 1}


def _tokens(args: argparse.Namespace, request: dict[str, Any]) -> int:
    from m3rt.bundle import open_bundle
    from m3rt.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.of(open_bundle(args.m3rt[0]))
    return int(tokenizer.encode(request["texts"], request["length"]).lengths.sum())


def _rows(args: argparse.Namespace, step: str, measured: Measured, tokens: int) -> list[dict[str, Any]]:
    vectors, peak = measured.outputs, float("nan")
    if GEMM in vectors:
        peak = float(vectors[GEMM][0]) * 1e12
    operations = _operations(args.checkpoint, measured.shape[1])
    rows = []
    for name, seconds in measured.seconds.items():
        if name == GEMM or not seconds:
            continue
        median = statistics.median(seconds)
        oracle = vectors.get(ORACLE)
        same = oracle is not None and vectors[name].shape == oracle.shape
        rows.append({
            "step": step, "shape": "x".join(map(str, measured.shape)), "peer": name,
            "tokens/s": round(tokens / median),
            "p50 ms": round(1e3 * median, 2),
            "p99 ms": round(1e3 * float(np.quantile(seconds, 0.99)), 2) if len(seconds) >= 100 else "",
            "rounds": len(seconds),
            "share of products": f"{tokens * operations / median / peak:.1%}" if step == "speed" else "",
            "least cosine": f"{_cosine(vectors[name], oracle):.5f}" if same else "",
            "seconds": seconds,
        })  # fmt: skip
    return rows


def _operations(checkpoint: Path, length: int) -> int:
    """Operations for each token of a text: the layers' products and attention."""
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    h, ffn, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    operations: int = (2 * (4 * h * h + 2 * h * ffn) + 4 * h * length) * layers
    return operations


def _cosine(vectors: Any, oracle: Any) -> float:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(oracle, axis=1)
    return float(((vectors * oracle).sum(axis=1) / lengths).min())


def _memory(args: argparse.Namespace, log: Any, missing: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The card's memory that each peer alone holds after it loaded, and after its largest batch."""
    task, request = _task(args), _request(args.longest, mixed=False)
    wanted = [(spec, {"peer": "m3rt", "m3rt": spec}) for spec in args.m3rt]
    wanted += [(name, {"peer": name, "m3rt": ""}) for name in args.peers if name != "products"]
    for name, choice in wanted:
        try:
            Worker(name, {**task, **choice, "prepare": True}, log).close()
            before = _used()
            worker = Worker(name, {**task, **choice, "prepare": False}, log)
            loaded = _used()
            for call in worker.calls:
                worker.ask({**request, "call": call, "save": ""})
                yield {
                    "step": "memory", "shape": "x".join(map(str, args.longest)), "peer": call,
                    "GB loaded": _gigabytes(loaded, before), "GB above": _gigabytes(_used(), loaded),
                }  # fmt: skip
            worker.close()
        except PeerError as error:
            missing[f"{name}, memory"] = str(error)


def _used() -> float:
    """GB of the card in use; what is not a number where nvidia-smi is not."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], capture_output=True, text=True
        )
        return int(said.stdout.split()[0]) * (1 << 20) / 1e9
    except (OSError, IndexError, ValueError):
        return float("nan")


def _gigabytes(now: float, before: float) -> float:
    return round(now - before, 2)


def _conditions(args: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from m3rt.host.nvidia import driver

    found = driver() if DEVICE != "cpu" else None
    card = "none" if found is None else f"{', '.join(found.cards)}, driver for CUDA {found.cuda[0]}.{found.cuda[1]}"
    return regime(card=card, checkpoint=args.checkpoint.name, load=round(os.getloadavg()[0], 1))


def _markdown(result: dict[str, Any]) -> str:
    lines = ["# Peers on a card", "", ", ".join(f"{k} {v}" for k, v in result["conditions"].items()), ""]
    for step in STEPS:
        rows = [
            {k: v for k, v in row.items() if k not in ("seconds", "step")}
            for row in result["rows"]
            if row["step"] == step
        ]
        if rows:
            lines += [f"## {step}", "", table(rows), ""]
    lines += [f"- not measured: {name}: {why}" for name, why in result["missing"].items()]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main()
