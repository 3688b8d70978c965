"""m3rt bench: how fast a bundle is on this machine, and what memory it takes; or how fast a server answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .parts.console import bar, emit_json, emit_text, size
from .parts.options import FiniteRange, model_argument, only_with, runtime_options

if TYPE_CHECKING:
    from ..encoder import M3Encoder

LATENCY_TOKENS = {"1x8": 8, "1x16": 16, "1x64": 64, "1x512": 512}  # tokens of a single text, by the row's name
BATCH = (8, 128)  # texts, tokens of each
MIXED = (64, 512)  # texts, tokens of the longest
# For each shape: the most runs, the seconds after which it ends, and the fewest runs in any case.
_FULL = {
    "latency": {"runs": 300, "seconds": 20.0, "min_runs": 20},
    "speed": {"runs": 9, "seconds": 15.0, "min_runs": 3},
}
_QUICK = {"latency": {"runs": 100, "seconds": 2.0, "min_runs": 5}, "speed": {"runs": 3, "seconds": 3.0, "min_runs": 1}}


@click.command("bench")
@model_argument
@click.option("--quick", is_flag=True, help="Fewer runs: seconds instead of minutes, and rougher.")
@click.option("--server", metavar="URL", help="Measure m3rt serve there, or any server of OpenAI's embeddings.")
@click.option("--clients", type=click.IntRange(1, 10_000), default=32,
              help="With --server: clients that each send a text when they have an answer.")  # fmt: skip
@click.option("--rate", type=FiniteRange(0.001, 100_000),
              help="With --server: then also so many texts a second, however long answers take.")  # fmt: skip
@click.option("--seconds", type=FiniteRange(0.01, 86_400), default=10.0, help="With --server: of each load.")
@click.option("--words", type=click.IntRange(1, 10_000), default=20, help="With --server: of the longest text.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
              help="With --server: the figure, .svg, .png or .pdf; the table is written beside it as .md.")  # fmt: skip
@runtime_options
def command(
    model: str, quick: bool, server: str | None, clients: int, rate: float | None, seconds: float, words: int,
    output: Path | None, **runtime: Any,
) -> None:  # fmt: skip
    """Measure latency, throughput, memory and cold start on this machine.

    Text in, dense vectors out, on texts cut to exactly so many tokens. Conditions come first, then a table, and as
    the last line of stdout the same as JSON. A percentile that the runs are too few for is left out.

    MODEL is a bundle's directory  [default: m3-tiny, which comes with m3rt; env var: M3RT_MODEL].

    With --server it loads nothing and measures the time until each answer, with the API key of M3RT_API_KEY.
    """
    only_with("--server", server is not None, "clients", "rate", "seconds", "words", "output")
    if server is not None:
        from .parts.load import measure

        measure(server, clients, rate, seconds, words, output)
        return
    from ..encoder import M3Encoder
    from ..host.machine import conditions
    from ..tuning import speed

    options = [f"--{name.replace('_', '-')}={value}" for name, value in runtime.items() if value is not None]
    encoder = M3Encoder(model, **runtime)
    regime = {
        **conditions(),
        "model": model,
        "source": encoder.manifest.source.id,
        "precision": encoder.manifest.precision,
        "engine": encoder.engine.name,
        "device": encoder.engine.device,
        "threads": encoder.engine.threads,
        "batch_tokens": encoder.batch_tokens,
    }
    emit_text(*(f"{name:<14}{_flat(value)}" for name, value in regime.items()), "")
    encoder.encode("What is BGE M3?")
    loaded = speed.memory()
    with bar(total=len(LATENCY_TOKENS) + 3) as progress:
        budget = _QUICK if quick else _FULL
        result: dict[str, Any] = {"conditions": regime, "quick": quick}
        result["latency_ms"] = _each(progress, _latencies(encoder, budget["latency"]))
        result["tokens_per_s"] = _each(progress, _speeds(encoder, budget["speed"]))
        result["memory"] = {**loaded, "peak": speed.memory()["peak"]}
        progress.set_description_str("cold start")
        result["cold_start_s"] = speed.cold_start(model, options)
        progress.update()
    emit_text(*_table(result))
    emit_json(result)


def _latencies(encoder: M3Encoder, budget: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    from ..tuning.speed import latency

    for name, tokens in LATENCY_TOKENS.items():
        yield name, latency(encoder, tokens, **budget) if tokens <= encoder.manifest.max_tokens else None


def _speeds(encoder: M3Encoder, budget: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    from ..tuning.speed import mixed_texts, text_of, throughput

    limit = encoder.manifest.max_tokens
    count, tokens = BATCH
    same = [text_of(encoder, tokens, seed) for seed in range(count)] if tokens <= limit else None
    yield f"{count}x{tokens}", throughput(encoder, same, tokens, **budget) if same else None
    count, longest = MIXED[0], min(MIXED[1], limit)
    yield "mixed", throughput(encoder, mixed_texts(encoder, count, longest), longest, **budget)


def _each(progress: Any, results: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    values = {}
    for name, value in results:
        values[name] = value
        progress.set_description_str(name)
        progress.update()
    return values


def _table(result: dict[str, Any]) -> list[str]:
    lines = ["latency       p50 ms    p95 ms    p99 ms      runs"]
    for name, row in result["latency_ms"].items():
        values = [row[p] for p in ("p50", "p95", "p99", "runs")] if row else [None] * 4
        lines.append(f"{name:<10}" + "".join(f"{_number(v):>10}" for v in values))
    lines += ["", "tokens/s      median       low      high      runs"]
    for name, row in result["tokens_per_s"].items():
        values = [row[p] for p in ("median", "low", "high", "runs")] if row else [None] * 4
        lines.append(f"{name:<10}" + "".join(f"{_number(v):>10}" for v in values))
    lines.append("")
    for name, value in result["memory"].items():
        lines.append(f"{name.replace('_', ' '):<20}{'unknown' if value is None else size(value)}")
    return [*lines, f"{'cold start':<20}{result['cold_start_s']:.2f} s, process start to first embedding", ""]


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _flat(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
