"""m3rt's reranker beside its peers: the same pairs, in turn, each peer in a process of its own.

    python -m benchmarks.rerank.peers --checkpoint DIR --m3rt BUNDLE[:ENGINE] ... [--peers flag ...] [--out PREFIX]

One call of every peer is one round; a round is repeated, after short pairs that do not count. The files of --out, a
page, JSON and charts, are written after every round; the next run keeps the shapes that they have in as many rounds, so
that a long run can be made in pieces. The others are compared with the first --m3rt, by pairs a second. A peer that
cannot be loaded is named with its reason. The CPU's seconds, of all threads, stand beside the time: they tell more than
it on a machine that others use.

100 pairs of 512 tokens take fp32 minutes. --most-tokens bounds the call of a peer that is not in --whole: it runs one
round, of the first pairs. Its pairs a second hardly depend on how many there are, from a thousand tokens on; the
table says on how many each row was measured.
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
WARM_UP = (2, 64)
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
        result = _earlier(args, subject)
        missing = result["missing"] = result["missing"] | missing
        for _ in Rounds(_request(WARM_UP), 0).run(Measured(WARM_UP), workers, {}, missing, Path(scratch)):
            pass
        for measured in [Measured(shape) for shape in args.shapes if not _is_done(shape, result, args.repeats)]:
            others = [rows for rows in result["rows"] if rows["shape"] != _name(measured.shape)]
            for _ in _rounds(args, measured.shape).run(measured, workers, {}, missing, Path(scratch)):
                result["rows"] = _sorted([*others, *_rows(measured, subject)])
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
    parser.add_argument("--most-tokens", type=int, metavar="N", help="of a call of a peer that is not in --whole")
    parser.add_argument("--whole", nargs="+", choices=PEERS, default=[], help="run every pair in every round")
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


def _rounds(args: argparse.Namespace, shape: tuple[int, int]) -> Rounds:
    request = _request(shape)
    if args.most_tokens is None:
        return Rounds(request, args.repeats, warm_up=False)
    brief = {*args.m3rt[1:], *args.peers} - {*args.whole}
    pairs = max(1, args.most_tokens // shape[1])
    return Rounds(request, args.repeats, dict.fromkeys(brief, 1), dict.fromkeys(brief, pairs), warm_up=False)


def _earlier(args: argparse.Namespace, subject: str) -> dict[str, Any]:
    """The results that --out has of runs before under the same conditions, or none."""
    conditions = regime(threads=args.threads, checkpoint=args.checkpoint.name)
    fresh = {"title": "Rerankers", "subject": subject, "conditions": conditions, "rows": [], "missing": {}}
    if not args.out or not (file := Path(f"{args.out}.json")).exists():
        return fresh
    earlier: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if any(earlier[key] != fresh[key] for key in ("title", "subject", "conditions")):
        raise SystemExit(f"{file} was measured under other conditions, expected these; remove it or name another --out")
    return earlier


def _is_done(shape: tuple[int, int], result: dict[str, Any], repeats: int) -> bool:
    rounds = [row["rounds"] for row in result["rows"] if row["shape"] == _name(shape)]
    return max(rounds, default=0) >= repeats


def _rows(measured: Measured, subject: str) -> list[dict[str, Any]]:
    pairs = {name: len(output) for name, output in measured.outputs.items()}
    speeds = {name: pairs[name] / statistics.median(seconds) for name, seconds in measured.seconds.items() if seconds}
    return [
        {
            "shape": _name(measured.shape),
            "peer": name,
            "pairs/s": float(f"{speed:.3g}"),
            "pairs": pairs[name],
            "rounds": len(measured.seconds[name]),
            "ms median (range)": spread(measured.seconds[name]),
            "CPU s": round(statistics.median(measured.cpu_seconds[name]), 2),
            f"{subject} is faster by": f"{speeds[subject] / speed:.2f}x" if subject in speeds else "",
            f"logits, most from {ORACLE}": _distance(measured.outputs, name),
            "RSS GB": round(measured.memory[name]["Rss"] / 1e9, 2),
        }
        for name, speed in speeds.items()
    ]


def _distance(outputs: dict[str, Any], name: str) -> str:
    if ORACLE not in outputs:
        return ""
    pairs = min(len(outputs[name]), len(outputs[ORACLE]))
    return f"{np.abs(outputs[name][:pairs] - outputs[ORACLE][:pairs]).max():.1e}"


def _name(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: _shape(row["shape"]))


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
