"""m3rt bench --server: load on a server, as a table, a figure and JSON."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError, OutputError
from ...host.files import replacing
from ...host.machine import conditions
from ...output.figure import COLOURS, TEXT_COLOUR, check, drawn
from ...serve.keys import VARIABLE
from ...tuning.load import QUANTILES, Answer, Target, closed_loop, open_loop, summary
from ...tuning.speed import words
from .console import emit_json, emit_text, say

_TEXTS = 1024  # of a load, over again until time is up
_COLUMNS = ("answered", *(f"p{q}_ms" for q in QUANTILES), "requests_per_s", "tokens_per_s", "refused", "errors")


def measure(url: str, clients: int, rate: float | None, seconds: float, longest: int, output: Path | None) -> None:
    """Run a closed loop of clients, then an open one if there is a rate, over texts of 1 to `longest` words."""
    target = Target(url, (os.environ.get(VARIABLE) or "").replace(",", " ").partition(" ")[0] or None)
    if output is not None:
        check(output)
    draw = random.Random(0)
    texts = [words(draw.randint(1, longest), seed) for seed in range(_TEXTS)]
    loads = {f"{clients} clients": asyncio.run(closed_loop(target, texts, clients, seconds))}
    if rate is not None:
        loads[f"{rate:g} a second"] = asyncio.run(open_loop(target, texts, rate, seconds))
    rows = {name: summary(answers) for name, answers in loads.items()}
    if not any(row["answered"] for row in rows.values()):
        statuses = sorted({answer.status for answers in loads.values() for answer in answers})
        raise InputError(f"{url} answered no request (statuses {statuses}, 0: no connection); is m3rt serve running?")
    regime = {**conditions(), "server": url, "seconds": seconds, "words": f"1-{longest}"}
    lines = _table(rows)
    emit_text(*(f"{name:<12}{value}" for name, value in regime.items()), "", *lines, "")
    if output is not None:
        _write(output, loads, lines)
    emit_json({"conditions": regime, "loads": rows})


def _table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head = ["load", *(column.replace("_per_s", "/s").replace("_", " ") for column in _COLUMNS)]
    cells = [[name, *(_number(row[column]) for column in _COLUMNS)] for name, row in rows.items()]
    return [_line(head), _line(["---"] * len(head)), *map(_line, cells)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | int | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"


def _write(output: Path, loads: Mapping[str, Sequence[Answer]], lines: list[str]) -> None:
    with drawn(output, 5.5) as axes:
        for (name, answers), colour in zip(loads.items(), COLOURS[1:], strict=False):
            good = sorted(1e3 * answer.seconds for answer in answers if answer.status == 200)
            axes.step(good, [100 * (i + 1) / len(good) for i in range(len(good))], label=name, color=colour)
        axes.set_xscale("log")
        axes.set_xlabel("ms until the answer", color=TEXT_COLOUR)
        axes.set_ylabel("% of the answered requests", color=TEXT_COLOUR)
    table = output.with_suffix(".md")
    try:
        with replacing(table) as aside:
            aside.write_text("\n".join([*lines, ""]), "utf-8")
    except OSError as error:
        raise OutputError(f"{table} cannot be written: {error.strerror or error}") from None
    say(f"{output} and {table} written")
