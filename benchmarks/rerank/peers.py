"""m3rt's reranker beside its peers: the same pairs, in turn, each peer in a process of its own.

    python -m benchmarks.rerank.peers --checkpoint DIR --m3rt BUNDLE[:ENGINE] ... [--peers flag ...] [--out PREFIX]

One call of every peer is one round; a round is repeated, after one of the first shape that does not count. The files
of --out, a page, JSON and charts, are written after every round. The others are compared with the first --m3rt. A peer
that cannot be loaded is named with its reason. The CPU's seconds, of all threads, stand beside the time: they tell more
than it on a machine that others use.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..common import add_threads, is_installed, options, regime, spread, table, write_results
from ..encoder.peer_models import WORDS
from ..peer_rounds import Measured, Rounds, start
from . import peer_models
from .peer_models import PEERS

ORACLE = "FlagReranker fp32"
QUERY_WORDS = 8
SHAPES = ["32x64", "32x256", "32x512", "100x64", "100x256", "100x512"]
_PANEL_INCHES_WIDE = 6.2


def main() -> None:
    args = _arguments()
    task = {"models": peer_models.__name__, "checkpoint": str(args.checkpoint), "lite": "", "work": str(args.work)}
    args.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, (args.work / "peers.log").open("w") as log:
        workers, missing = start({**task, "threads": args.threads}, args.m3rt, args.peers, log)
        if args.m3rt[0] in missing:
            raise SystemExit(f"{args.m3rt[0]} cannot be loaded: {missing[args.m3rt[0]]}")
        subject = workers[0].calls[0]
        measured = [Measured(shape) for shape in args.shapes]
        for shape in measured:
            asked = Rounds(_request(shape.shape), args.repeats, warm_up=shape is measured[0])
            for _ in asked.run(shape, workers, {}, missing, Path(scratch)):
                result = _result(args, subject, measured, missing)
                if args.out:
                    write_results(args.out, _markdown(result), result)
    if args.out and is_installed("matplotlib"):
        _draw(args.out, result)
    print(_markdown(result))
    print(json.dumps(result))


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--m3rt", action="append", required=True, metavar="BUNDLE[:ENGINE]")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/rerank-peers"), help="keeps converted models, the log"
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--shapes", nargs="+", type=_shape, default=[_shape(text) for text in SHAPES])
    parser.add_argument("--repeats", type=int, default=3)
    add_threads(parser)
    parser.add_argument("--out", type=Path, help="writes OUT.md, OUT.json and charts")
    return parser.parse_args()


def _shape(text: str) -> tuple[int, int]:
    pairs, _, length = text.partition("x")
    return int(pairs), int(length)


def _request(shape: tuple[int, int]) -> dict[str, Any]:
    """One question and its passages, each pair cut to the same length: passages have more tokens than are kept."""
    count, length = shape
    draw = np.random.default_rng(length)
    query = " ".join(draw.choice(WORDS.split(), QUERY_WORDS))
    passages = [" ".join(draw.choice(WORDS.split(), length)) for _ in range(count)]
    return {"texts": [[query, passage] for passage in passages], "length": length, "inner": 1}


def _result(
    args: argparse.Namespace, subject: str, measured: list[Measured], missing: dict[str, str]
) -> dict[str, Any]:
    conditions = regime(threads=args.threads, repeats=args.repeats, checkpoint=args.checkpoint.name)
    rows = [row for shape in measured if shape.seconds for row in _rows(shape, subject)]
    return {"title": "Rerankers", "subject": subject, "conditions": conditions, "rows": rows, "missing": missing}


def _rows(measured: Measured, subject: str) -> list[dict[str, Any]]:
    pairs, length = measured.shape
    medians = {name: statistics.median(seconds) for name, seconds in measured.seconds.items() if seconds}
    return [
        {
            "shape": f"{pairs}x{length}",
            "peer": name,
            "pairs/s": round(pairs / seconds, 2),
            "ms median (range)": spread(measured.seconds[name]),
            "CPU s": round(statistics.median(measured.cpu_seconds[name]), 2),
            f"{subject} is faster by": f"{seconds / medians[subject]:.2f}x" if subject in medians else "",
            f"logits, most from {ORACLE}": _distance(measured.outputs, name),
            "RSS GB": round(measured.memory[name]["Rss"] / 1e9, 2),
        }
        for name, seconds in medians.items()
    ]


def _distance(outputs: dict[str, Any], name: str) -> str:
    return f"{np.abs(outputs[name] - outputs[ORACLE]).max():.1e}" if ORACLE in outputs else ""


def _markdown(result: dict[str, Any]) -> str:
    lines = [", ".join(f"{k} {v}" for k, v in result["conditions"].items()), ""]
    for shape in dict.fromkeys(row["shape"] for row in result["rows"]):
        rows = [{k: v for k, v in row.items() if k != "shape"} for row in result["rows"] if row["shape"] == shape]
        pairs, length = shape.split("x")
        lines += [f"## {pairs} pairs of {length} tokens", "", table(rows), ""]
    lines += [f"- not measured: {name}: {why}" for name, why in result["missing"].items()]
    return "\n".join(["# Rerankers", "", *lines]).rstrip()


def _draw(out: Path, result: dict[str, Any]) -> None:
    from ..panels import draw

    shapes = list(dict.fromkeys(row["shape"] for row in result["rows"]))
    conditions = result["conditions"]
    draw(
        str(out),
        f"Rerankers, pairs/s (higher is better) - {conditions['cpu']}, {conditions['threads']} threads",
        [partial(_bars, shape, [row for row in result["rows"] if row["shape"] == shape]) for shape in shapes],
        panel_inches=(_PANEL_INCHES_WIDE, 0.75 + 0.24 * len(PEERS) + 0.96),
    )


def _bars(shape: str, rows: list[dict[str, Any]], axis: Any, colours: Any) -> None:
    from ..panels import colour_of, name_rows, weight_of

    rows = sorted(rows, key=lambda row: row["pairs/s"])
    names, speeds = [row["peer"] for row in rows], [row["pairs/s"] for row in rows]
    axis.barh(range(len(names)), speeds, color=[colour_of(name, colours) for name in names], height=0.72)
    for place, (name, speed) in enumerate(zip(names, speeds, strict=True)):
        axis.text(
            speed + speeds[-1] * 0.01, place, f"{speed:.3g}", va="center", color=colours["text"], weight=weight_of(name)
        )
    axis.set_xlim(0, speeds[-1] * 1.1)
    pairs, length = shape.split("x")
    name_rows(axis, names, f"{pairs} pairs of {length} tokens", colours)


if __name__ == "__main__":
    main()
