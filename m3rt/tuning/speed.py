"""Measures the speed and memory of an encoder; it prints and decides nothing."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..encoder import M3Encoder
from ..errors import EngineError

# Words of several scripts and lengths, so that a text gives the tokenizer real work.
_WORDS = (
    "the of retrieval embedding a what vectors is model query language for passage and tokens 2024 multilingual "
    "pour les modèles на русском языке für die Straße 検索 模型 데이터 البحث खोज σημασία tiempo"
)
_PERCENTILES = {"p50": (50, 1), "p95": (95, 20), "p99": (99, 100)}  # per cent, and the runs needed for it


def words(count: int, seed: int) -> str:
    """Make a text of so many words, for a server whose tokenizer is not here."""
    return " ".join(random.Random(seed).choices(_WORDS.split(), k=count))


def text_of(encoder: M3Encoder, tokens: int, seed: int) -> str:
    """Make a text of `tokens` tokens or a few more; encode it with max_length=tokens."""
    draw = random.Random(seed)
    parts: list[str] = []
    while True:
        parts += draw.choices(_WORDS.split(), k=max(4, tokens // 2))
        text = " ".join(parts)
        if len(encoder.tokenize(text)) >= tokens:
            return text


def mixed_lengths(count: int, longest: int, seed: int = 0) -> list[int]:
    """Draw `count` lengths in tokens, log-normal as passages are: median 64, one in ten over 230, cut to 8..longest."""
    draw = random.Random(seed)
    return [max(min(8, longest), min(longest, round(draw.lognormvariate(4.16, 1.0)))) for _ in range(count)]


def mixed_texts(encoder: M3Encoder, count: int, longest: int) -> list[str]:
    """Make `count` texts of mixed_lengths(), within a few tokens."""
    pool = text_of(encoder, longest, 0).split()
    words_per_token = len(pool) / len(encoder.tokenize(" ".join(pool), max_length=None))
    return [" ".join(pool[: max(1, round((n - 2) * words_per_token))]) for n in mixed_lengths(count, longest)]


def timed(call: Callable[[int], object], *, runs: int, seconds: float, min_runs: int) -> list[float]:
    """Time each call(i) in seconds: at most `runs`, at least `min_runs`, and otherwise until `seconds` have passed."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < runs and (len(times) < min_runs or time.perf_counter() < end):
        start = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - start)
    return times


def percentiles(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """Return p50, p95 and p99 in milliseconds, None for those that need more runs, and the number of runs."""
    ordered = sorted(seconds)
    result: dict[str, float | int | None] = {}
    for name, (percent, enough) in _PERCENTILES.items():
        rank = max(0, -(-percent * len(ordered) // 100) - 1)  # nearest rank
        result[name] = 1e3 * ordered[rank] if len(ordered) >= enough else None
    return {**result, "runs": len(ordered)}


def latency(
    encoder: M3Encoder, tokens: int, *, runs: int, seconds: float, min_runs: int
) -> dict[str, float | int | None]:
    """Return percentiles() of encoding one text of exactly `tokens` tokens to a dense vector, eight texts in turn."""
    texts = [text_of(encoder, tokens, seed) for seed in range(8)]
    encoder.encode(texts[0], max_length=tokens)
    return percentiles(
        timed(
            lambda i: encoder.encode(texts[i % len(texts)], max_length=tokens),
            runs=runs,
            seconds=seconds,
            min_runs=min_runs,
        )
    )


def throughput(
    encoder: M3Encoder, texts: Sequence[str], limit: int, *, runs: int, seconds: float, min_runs: int
) -> dict[str, float | int]:
    """Return the tokens a second of `texts` cut to `limit` tokens: median, low and high of the runs."""
    tokens = int(encoder.encode(texts, max_length=limit).n_tokens.sum())
    times = timed(lambda i: encoder.encode(texts, max_length=limit), runs=runs, seconds=seconds, min_runs=min_runs)
    speeds = [tokens / s for s in times]
    return {"median": statistics.median(speeds), "low": min(speeds), "high": max(speeds), "runs": len(speeds)}


def memory() -> dict[str, int | None]:
    """Return the bytes of this process: resident, private anonymous (no file's) and peak; None where unknown."""
    smaps, status = _kilobytes("/proc/self/smaps_rollup"), _kilobytes("/proc/self/status")
    kilobytes = {
        "rss": status.get("VmRSS"),
        "private_anonymous": smaps.get("Anonymous"),
        "peak": status.get("VmHWM"),
    }
    return {name: None if kb is None else kb * 1024 for name, kb in kilobytes.items()}


def cold_start(model: str | Path, options: Sequence[str] = (), repeats: int = 3) -> float:
    """Return the median seconds from starting `m3rt encode` to its first embedding on stdout. Raises EngineError."""
    return statistics.median(
        _cold_start([sys.executable, "-m", "m3rt", "encode", "-m", str(model), *options, "What is BGE M3?"])
        for _ in range(repeats)
    )


def _cold_start(command: list[str]) -> float:
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        line = process.stdout.readline() if process.stdout else b""
        seconds = time.perf_counter() - start
        _, error = process.communicate()
    if not line or process.returncode:
        message = " ".join(error.decode("utf-8", "replace").split())
        raise EngineError(f"a fresh process gave no embedding (status {process.returncode}): {message:.300}")
    return seconds


def _kilobytes(path: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    with suppress(OSError):
        for line in Path(path).read_text().splitlines():
            name, _, rest = line.partition(":")
            if rest.endswith("kB"):
                sizes[name] = int(rest.split()[0])
    return sizes
