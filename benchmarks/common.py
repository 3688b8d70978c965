"""What every benchmark shares: the machine, interleaved timing, a table for people and a JSON line for machines."""

from __future__ import annotations

import json
import os
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from m3rt.machine import conditions

PACKAGES = (
    "m3rt", "onnxruntime", "openvino", "numpy", "torch", "transformers", "FlagEmbedding", "sentence-transformers",
    "optimum-intel", "optimum-onnx", "nncf", "bge-m3-lite",
)  # fmt: skip


def regime(**extra: Any) -> dict[str, Any]:
    """The conditions of a run: machine, threads, package versions."""
    machine = conditions()
    return {
        "cpu": machine["cpu"], "cpus": machine["cpus"], "python": platform.python_version(), **_versions(), **extra
    }  # fmt: skip


_PAUSE = 0.1  # seconds: threads of the library that was called before may spin for a while, on this one's CPUs


def interleaved(calls: Mapping[str, Callable[[], Any]], repeats: int = 5, inner: int = 1) -> dict[str, list[float]]:
    """Seconds of each call, `repeats` times in turn after one warm-up each; each time is a mean over `inner`."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            for _ in range(inner):
                call()
            seconds[name].append((time.perf_counter() - start) / inner)
    return seconds


def spread(seconds: Sequence[float]) -> str:
    """Median and range in milliseconds."""
    low, middle, high = (1e3 * f(seconds) for f in (min, statistics.median, max))
    return f"{middle:.1f} ({low:.1f}-{high:.1f})"


def report(title: str, rows: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> None:
    """Conditions, a Markdown table, and as the last line the same as JSON."""
    print(f"# {title}\n" + ", ".join(f"{k} {v}" for k, v in conditions.items()) + "\n")
    print(table(rows))
    print(json.dumps({"title": title, "conditions": dict(conditions), "rows": [dict(r) for r in rows]}))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table; the first row names the columns."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(c, "")) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Write aside and rename: a reader, or whoever interrupts, finds the old file or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def memory(pid: int | str = "self") -> dict[str, int]:
    """Bytes of each kind of memory of a process as /proc/PID/smaps_rollup has them: Rss, Pss, Anonymous, ...

    Anonymous is what belongs to the process alone: no file holds it, so nothing can share or drop it. Linux only.
    """
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: 1024 * int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def mixlen(path: Path, count: int, *, seed: int = 0) -> list[str]:
    """`count` texts drawn from a JSON-lines file with a "text" field, the same ones for the same seed."""
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return random.Random(seed).sample(texts, count)


def by_language(path: Path, each: int, characters: int, *, seed: int = 0) -> dict[str, list[str]]:
    """`each` texts of every language of a JSON-lines file with "text" and "lang", cut to `characters`."""
    texts: dict[str, list[str]] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            texts.setdefault(row["lang"], []).append(row["text"][:characters])
    draw = random.Random(seed)
    return {lang: draw.sample(found, each) for lang, found in sorted(texts.items()) if len(found) >= each}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
