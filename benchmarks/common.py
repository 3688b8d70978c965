"""All scripts share this: options, conditions of a run, interleaved timing, tables for people, JSON for machines."""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from m3rt.host.files import replacing
from m3rt.host.machine import conditions
from m3rt.host.threads import available_cpus

PACKAGES = (
    "m3rt", "onnxruntime", "openvino", "numpy", "torch", "transformers", "FlagEmbedding", "sentence-transformers",
    "optimum-intel", "optimum-onnx", "nncf", "bge-m3-lite",
)  # fmt: skip
_PAUSE_SECONDS = 0.1  # threads of the library that was called before may spin so long, on the CPUs of the next one


def options(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of command line options whose help is the script's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=available_cpus(), help="default: the CPUs granted here")


def require(*packages: str) -> None:
    """End the script with one line if a package is not installed; the line says how to install it."""
    versions = _versions(packages)
    if missing := [package for package in packages if package not in versions]:
        raise SystemExit(
            f"this script needs {', '.join(missing)}, not installed here; pip install {' '.join(missing)} "
            "(benchmarks/README.md names what each script needs)"
        )


@cache
def is_installed(package: str) -> bool:
    """Return whether a peer can be measured; if not, a line on stderr says that it is left out."""
    if _versions([package]):
        return True
    print(f"{package} is not installed and left out; pip install {package}", file=sys.stderr)
    return False


def regime(**extra: Any) -> dict[str, Any]:
    """Return the conditions of a run: machine, threads, package versions."""
    machine = conditions()
    return {
        "cpu": machine["cpu"], "cpus": machine["cpus"], "python": platform.python_version(), **_versions(PACKAGES),
        **extra,
    }  # fmt: skip


def pause() -> None:
    """Wait until the threads of the library called before have stopped spinning."""
    time.sleep(_PAUSE_SECONDS)


def interleaved(calls: Mapping[str, Callable[[], Any]], repeats: int = 5, inner: int = 1) -> dict[str, list[float]]:
    """Time each call `repeats` times in turn, after a warm-up each; return seconds, each a mean over `inner` calls."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            pause()
            start = time.perf_counter()
            for _ in range(inner):
                call()
            seconds[name].append((time.perf_counter() - start) / inner)
    return seconds


def spread(seconds: Sequence[float]) -> str:
    """Format the median and range in milliseconds."""
    low, middle, high = (1e3 * f(seconds) for f in (min, statistics.median, max))
    return f"{middle:.1f} ({low:.1f}-{high:.1f})"


def report(title: str, rows: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any]) -> None:
    """Print the conditions, a Markdown table, and the same as JSON on the last line."""
    print(f"# {title}\n" + ", ".join(f"{k} {v}" for k, v in conditions.items()) + "\n")
    print(table(rows))
    print(json.dumps({"title": title, "conditions": dict(conditions), "rows": [dict(r) for r in rows]}))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format a Markdown table; the first row names the columns."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(c, "")) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def write_results(prefix: Path, page: str, result: Any) -> None:
    """Write the page to prefix.md and the result to prefix.json."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    _write(Path(f"{prefix}.md"), page.rstrip("\n") + "\n")
    _write(Path(f"{prefix}.json"), json.dumps(result, indent=1) + "\n")


def run_fresh(script: str, *arguments: object) -> Any:
    """Run a script in a process of its own and return the JSON that it prints on its last line.

    -P keeps the folder from which the benchmark was started off the script's sys.path, as in benchmarks/__init__.py.
    """
    command = [sys.executable, "-P", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        error = (done.stderr.strip().splitlines() or ["it printed no error"])[-1]
        raise SystemExit(f"a fresh process ended with status {done.returncode}: {error}")
    return json.loads(done.stdout.splitlines()[-1])


def memory_of(pid: int) -> dict[str, int]:
    """Return bytes of another process by kind of memory, as /proc/PID/smaps_rollup names them: Rss, Pss, Anonymous, ...

    Anonymous memory belongs to the process alone: no file holds it, so nothing can share or drop it. It is read from
    outside, so that a peer's process need not import anything for it. Linux only.
    """
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: 1024 * int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def draw_texts(path: Path, count: int, *, seed: int = 0) -> list[str]:
    """Draw `count` texts from a JSON-lines file with a "text" field, the same ones for the same seed."""
    texts = [row["text"] for row in _rows(path)]
    if len(texts) < count:
        raise SystemExit(f"{path} has {len(texts)} texts, expected at least {count}")
    return random.Random(seed).sample(texts, count)


def draw_by_language(path: Path, each: int, characters: int, *, seed: int = 0) -> dict[str, list[str]]:
    """Draw `each` texts of every language of a JSON-lines file with "text" and "lang", and cut them to `characters`."""
    texts: dict[str, list[str]] = {}
    for row in _rows(path):
        texts.setdefault(row["lang"], []).append(row["text"][:characters])
    draw = random.Random(seed)
    drawn = {lang: draw.sample(texts[lang], each) for lang in sorted(texts) if len(texts[lang]) >= each}
    if not drawn:
        raise SystemExit(f"{path} has no language with {each} texts or more; give --each a smaller number")
    return drawn


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _write(path: Path, text: str) -> None:
    """Write so that after an interruption either the old file or the new one is there."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
