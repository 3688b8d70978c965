"""m3rt beside its peers: the same texts, in turn, each peer in a process of its own, and the CPU's limit beside them.

    python -m benchmarks.encoder.peers --checkpoint DIR --m3rt BUNDLE[:ENGINE] ... [--lite DIR] [--peers flag ...]

One call of every peer is one round; a round is repeated, so that a slow moment hits all. Waiting processes sleep.
The files of --out are written after every round, so an interrupted run keeps its measurements.
The others are compared with the first --m3rt. A peer that cannot be loaded is named with its reason.
All peers at once need 30 GB; with less memory name fewer, or the kernel drops the mapped weights of those that wait.
The limit is the time that the encoder's operations take at the best rate of u8 x s8 matrix products in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..common import add_threads, options, regime, spread, table, write_results
from ..peer_rounds import Measured, Rounds, start
from . import peer_models
from .peer_models import PEERS, WORDS

ORACLE = "FlagEmbedding fp32"
# Calls that take half a minute get fewer rounds: parity and the size of the ratio, which is large, need no more.
ROUNDS = {("flag", (1, 2048)): 2}


def main() -> None:
    args = _arguments()
    paths = {name: str(getattr(args, name)) for name in ("checkpoint", "lite", "work")}
    task = {"models": peer_models.__name__, **paths, "threads": args.threads}
    args.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, (args.work / "peers.log").open("w") as log:
        workers, missing = start(task, args.m3rt, [*args.peers, "gemm"], log)
        names = [name for worker in workers if worker.peer != "gemm" for name in worker.calls]
        if args.m3rt[0] in missing:
            raise SystemExit(f"{args.m3rt[0]} cannot be loaded: {missing[args.m3rt[0]]}")
        rates: dict[str, float] = {}
        measured = [Measured(shape) for shape in args.shapes]
        for shape in measured:
            fewer = {peer: count for (peer, at), count in ROUNDS.items() if at == shape.shape}
            asked = Rounds(_request(shape.shape), args.repeats, fewer)
            for _ in asked.run(shape, workers, rates, missing, Path(scratch)):
                result = _result(args, names[0], measured, rates, missing)
                if args.out:
                    write_results(args.out, _markdown(result), result)
    print(_markdown(result))
    print(json.dumps(result))


def _result(
    args: argparse.Namespace, subject: str, measured: list[Measured], rates: dict[str, float], missing: dict[str, str]
) -> dict[str, Any]:
    operations = _operations(args.checkpoint)
    conditions = regime(
        threads=args.threads,
        repeats=args.repeats,
        checkpoint=args.checkpoint.name,
        **{f"{kind} GOPS": round(rate / 1e9) for kind, rate in rates.items()},
        **_memory(measured),
    )
    rows = [row for shape in measured for row in _rows(shape, subject, rates, operations) if shape.seconds]
    return {"title": "Peers", "subject": subject, "conditions": conditions, "rows": rows, "missing": missing}


def _memory(measured: list[Measured]) -> dict[str, str]:
    """Compare the memory of all processes with the machine's: if it is larger, mapped weights are read repeatedly."""
    resident = max(sum(shape.resident.values()) for shape in measured)
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"GB in memory": f"{resident / 1e9:.0f} of {physical / 1e9:.0f}"}


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--m3rt", action="append", required=True, metavar="BUNDLE[:ENGINE]")
    parser.add_argument("--lite", type=Path, default=Path("lite"), help="output of build_lite.py")
    parser.add_argument("--work", type=Path, default=Path(".cache/peers"), help="keeps converted models and the log")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--shapes", nargs="+", type=_shape, default=[(8, 128), (1, 16), (1, 512), (1, 2048)])
    parser.add_argument("--repeats", type=int, default=5)
    add_threads(parser)
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    return parser.parse_args()


def _shape(text: str) -> tuple[int, int]:
    batch, _, length = text.partition("x")
    return int(batch), int(length)


def _request(shape: tuple[int, int]) -> dict[str, Any]:
    batch, length = shape
    draw = np.random.default_rng(length)
    texts = [" ".join(draw.choice(WORDS.split(), length)) for _ in range(batch)]  # more tokens than are kept
    return {"texts": texts, "length": length, "inner": 1 + 3 * (length < 64)}


def _rows(measured: Measured, subject: str, rates: dict[str, float], operations: Any) -> list[dict[str, Any]]:
    batch, length = measured.shape
    seconds, vectors = measured.seconds, measured.outputs
    medians = {name: statistics.median(times) for name, times in seconds.items() if times}
    oracle = vectors.get(ORACLE)
    limits = {f"limit: {kind} products": batch * length * operations(length) / rate for kind, rate in rates.items()}
    rows = []
    for name, duration in {**medians, **limits}.items():
        row = {"shape": f"{batch}x{length}", "peer": name, "tokens/s": round(batch * length / duration, 1)}
        row["rounds"] = len(seconds[name]) if name in seconds else ""
        row["ms median (range)"] = spread(seconds[name]) if name in seconds else f"{1e3 * duration:.1f}"
        row[f"{subject} is faster by"] = f"{duration / medians[subject]:.2f}x" if subject in medians else ""
        share = limits.get("limit: u8s8 products", float("nan")) / duration
        row["share of u8s8 limit"] = f"{share:.1%}"
        if name in vectors and oracle is not None:
            row[f"cosine vs {ORACLE}"] = f"{_cosine(vectors[name], oracle).min():.5f}"
        else:
            row[f"cosine vs {ORACLE}"] = ""
        row["RSS GB (anonymous)"] = _gigabytes(measured.memory[name]) if name in measured.memory else ""
        if name in seconds:
            row["seconds"] = seconds[name]
        rows.append(row)
    return rows


def _gigabytes(memory: dict[str, int]) -> str:
    """Return RSS and anonymous memory: mapped weights are in the first only, weights that a peer copied are in both."""
    return f"{memory['Rss'] / 1e9:.2f} ({memory['Anonymous'] / 1e9:.2f})"


def _cosine(vectors: Any, oracle: Any) -> Any:
    return (vectors * oracle).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(oracle, axis=1)


def _operations(checkpoint: Path) -> Any:
    """Return a function from a text's length to operations for each token: the layers' products and attention."""
    config = json.loads((checkpoint / "config.json").read_text())
    h, ffn, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    return lambda length: (2 * (4 * h * h + 2 * h * ffn) + 4 * h * length) * layers


def _markdown(result: dict[str, Any]) -> str:
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in result["rows"]]
    lines = [", ".join(f"{k} {v}" for k, v in result["conditions"].items()), ""]
    for shape in dict.fromkeys(row["shape"] for row in rows):
        part = [{k: v for k, v in row.items() if k != "shape"} for row in rows if row["shape"] == shape]
        lines += [f"## {shape}", "", table(part), ""]
    lines += [f"- not measured: {name}: {why}" for name, why in result["missing"].items()]
    return "\n".join(["# Peers", "", *lines]).rstrip()


if __name__ == "__main__":
    main()
