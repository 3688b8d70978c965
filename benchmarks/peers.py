"""m3rt beside its peers: the same texts, in turn, each peer in a process of its own, and the CPU's limit beside them.

    python benchmarks/peers.py --checkpoint DIR --m3rt BUNDLE[:ENGINE] ... [--lite DIR] [--peers flag st-fp32 ...]

One call of every peer is one round; a round is repeated, so that a slow moment hits all. Waiting processes sleep.
What --out names is written after every round: an interrupted run keeps what it has measured.
The first --m3rt is what the others are compared with. A peer that cannot be loaded is named with its reason.
All peers at once need 30 GB; with less memory name fewer, or the kernel drops the mapped weights of those that wait.
The limit is the best u8 x s8 matrix product rate measured in the same run, over all operations of the encoder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common import regime, spread, table, write
from peer_models import PEERS, WORDS
from peer_process import PeerError, Worker
from tqdm import tqdm

from m3rt.threads import available_cpus

ORACLE = "FlagEmbedding fp32"
# The calls of half a minute get fewer rounds: parity and the size of the ratio, which is large, need no more.
ROUNDS = {("flag", (1, 2048)): 2}


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one shape (texts, tokens of each) so far, by call: it grows with every round."""

    shape: tuple[int, int]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    vectors: dict[str, Any] = field(default_factory=dict)  # (texts, dim) float32
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)  # bytes in memory, by process


def main() -> None:
    args = _arguments()
    task = {"checkpoint": str(args.checkpoint), "lite": str(args.lite), "work": str(args.work), "threads": args.threads}
    args.work.mkdir(parents=True, exist_ok=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, (args.work / "peers.log").open("w") as log:
        workers, missing = _start(args, task, log)
        names = [name for worker in workers if worker.peer != "gemm" for name in worker.calls]
        if args.m3rt[0] in missing:
            raise SystemExit(f"{args.m3rt[0]} cannot be loaded: {missing[args.m3rt[0]]}")
        rates: dict[str, float] = {}
        measured = [Measured(shape) for shape in args.shapes]
        for one in measured:
            for _ in _rounds(one, workers, rates, missing, args.repeats, Path(scratch)):
                result = _result(args, names[0], measured, rates, missing)
                if args.out:
                    write(args.out.with_suffix(".md"), _markdown(result) + "\n")
                    write(args.out.with_suffix(".json"), json.dumps(result, indent=1) + "\n")
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
    rows = [row for one in measured for row in _rows(one, subject, rates, operations) if one.seconds]
    return {"title": "Peers", "subject": subject, "conditions": conditions, "rows": rows, "missing": missing}


def _memory(measured: list[Measured]) -> dict[str, str]:
    """What all processes hold beside what there is: past it, mapped weights are read from disk again and again."""
    held = max(sum(one.held.values()) for one in measured)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"GB in memory": f"{held / 1e9:.0f} of {there / 1e9:.0f}"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--m3rt", action="append", required=True, metavar="BUNDLE[:ENGINE]")
    parser.add_argument("--lite", type=Path, default=Path("lite"), help="output of build_lite.py")
    parser.add_argument("--work", type=Path, default=Path(".cache/peers"), help="keeps converted models and the log")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--shapes", nargs="+", type=_shape, default=[(8, 128), (1, 16), (1, 512), (1, 2048)])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    return parser.parse_args()


def _shape(text: str) -> tuple[int, int]:
    batch, _, length = text.partition("x")
    return int(batch), int(length)


def _start(args: argparse.Namespace, task: dict[str, Any], log: Any) -> tuple[list[Worker], dict[str, str]]:
    """Every worker that loads, and the others' reasons; what is converted first is so in a process that ends."""
    wanted = [(spec, {**task, "peer": "m3rt", "m3rt": spec}) for spec in args.m3rt]
    wanted += [(name, {**task, "peer": name, "m3rt": ""}) for name in args.peers]
    wanted.append(("gemm", {**task, "peer": "gemm", "m3rt": ""}))
    workers, missing, ready = [], {}, []
    for name, one in tqdm(wanted, desc="prepare"):
        try:
            Worker(name, {**one, "prepare": True}, log).close()
            ready.append((name, one))
        except PeerError as error:
            missing[name] = str(error)
    for name, one in tqdm(ready, desc="load"):
        try:
            workers.append(Worker(name, {**one, "prepare": False}, log))
        except PeerError as error:
            missing[name] = str(error)
    return workers, missing


def _rounds(
    measured: Measured, workers: list[Worker], rates: dict[str, float], missing: dict[str, str], repeats: int,
    scratch: Path,
) -> Iterator[int]:  # fmt: skip
    """Ask every call once, and yield, `repeats` times after a warm-up, which also gives the vectors.

    A peer that fails is missing from then on.
    """
    batch, length = measured.shape
    draw = np.random.default_rng(length)
    texts = [" ".join(draw.choice(WORDS.split(), length)) for _ in range(batch)]  # more tokens than are kept
    request = {"texts": texts, "length": length, "inner": 1 + 3 * (length < 64)}
    calls = [(worker, name) for worker in workers for name in worker.calls or ["gemm"]]
    for turn in tqdm(range(-1, repeats), desc=f"{batch}x{length}"):
        for worker, name in calls:
            if worker.dead or turn >= ROUNDS.get((worker.peer, measured.shape), repeats):
                continue
            file = scratch / "vectors.npy"
            time.sleep(0.1)  # the last peer's threads stop spinning
            try:
                reply = worker.ask({**request, "call": name, "save": str(file) if turn < 0 else ""})
            except PeerError as error:
                missing[f"{name} at {batch}x{length}"] = str(error)
                measured.seconds.pop(name, None)
                continue
            if "rates" in reply:
                rates.update({kind: max(rate, rates.get(kind, 0)) for kind, rate in reply["rates"].items()})
            elif turn < 0:
                measured.vectors[name], measured.seconds[name] = np.load(file), []
            else:
                measured.seconds[name].append(reply["seconds"])
                measured.memory[name] = reply["memory"]
                measured.held[worker.peer] = reply["memory"]["Rss"]
        if turn >= 0:
            yield turn


def _rows(measured: Measured, subject: str, rates: dict[str, float], operations: Any) -> list[dict[str, Any]]:
    batch, length = measured.shape
    seconds, vectors = measured.seconds, measured.vectors
    middle = {name: statistics.median(times) for name, times in seconds.items() if times}
    oracle = vectors.get(ORACLE)
    limits = {f"limit: {kind} products": batch * length * operations(length) / rate for kind, rate in rates.items()}
    rows = []
    for name, duration in {**middle, **limits}.items():
        row = {"shape": f"{batch}x{length}", "peer": name, "tokens/s": round(batch * length / duration, 1)}
        row["rounds"] = len(seconds[name]) if name in seconds else ""
        row["ms median (range)"] = spread(seconds[name]) if name in seconds else f"{1e3 * duration:.1f}"
        row[f"{subject} is faster by"] = f"{duration / middle[subject]:.2f}x" if subject in middle else ""
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


def _gigabytes(taken: dict[str, int]) -> str:
    """Mapped weights count in the first number only; a peer that copies its weights has them in both."""
    return f"{taken['Rss'] / 1e9:.2f} ({taken['Anonymous'] / 1e9:.2f})"


def _cosine(one: Any, two: Any) -> Any:
    return (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def _operations(checkpoint: Path) -> Any:
    """Operations per token of a text of `length` tokens: the layers' products and attention, embeddings free."""
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
