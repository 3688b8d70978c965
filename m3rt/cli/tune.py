"""m3rt tune: find the fastest settings of a bundle on this machine and keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from .console import bar, emit_text, say, size
from .options import model_argument


@click.command("tune")
@model_argument
@click.option("--seconds", type=click.IntRange(1, 600), default=60, help="How long to measure, about.")
@click.option("--prepack/--no-prepack", default=True, help="Save onnxruntime's packed weights, 1.5 times the bundle.")
def command(model: str, seconds: int, prepack: bool) -> None:
    """Find the fastest engine, threads and batches for this machine, and keep them.

    The result is a profile in M3RT_CACHE, by default ~/.cache/m3rt, that every later load of this bundle on the CPU
    uses for what is not given explicitly. Another machine, m3rt, engine or bundle makes it stale: it is then ignored
    with a warning until tune runs again. M3RT_TUNE=0 ignores it. The profile's path is printed on stdout.

    With --prepack the weights are saved too as onnxruntime's kernels want them, so that later processes map and
    share them instead of packing a private copy.

    MODEL is a bundle's directory  [env var: M3RT_MODEL].
    """
    from dataclasses import replace

    from .. import tuning
    from ..bundle import open_bundle
    from ..engines import prepacked
    from ..trials import tune

    bundle = open_bundle(model)
    tuning.make_folder(bundle)  # an unusable cache is told before a minute of work
    tuning.forget_stale(bundle)
    with bar(total=100, bar_format="{desc:<36.36} {percentage:3.0f}% |{bar}| {elapsed}") as progress:

        def show(part: float, what: str) -> None:
            progress.n = round(100 * part)
            progress.set_description_str(what)

        profile = tune(bundle, seconds, progress=show)
    name = prepacked.NAME
    if prepack and name in profile.settings and prepacked.supported(bundle):
        files = prepacked.save(bundle, tuning.prepared_folder(bundle, name))
        settings = {**profile.settings, name: replace(profile.settings[name], prepared=files)}
        profile = replace(profile, settings=settings)
        saved = f"{size(sum(files.values()))} of packed weights saved; --no-prepack does without"
        say(saved if files else "this bundle's packed weights cannot be saved (alignment); loading is as before")
    path = tuning.save(bundle, profile)
    prepacked.remove_others(tuning.prepared_folder(bundle, name))
    emit_text(_table(profile.measured))
    best = profile.settings[profile.engine]
    batch = f"batches of {best.batch_tokens} tokens" if best.batch_tokens else "the engine's own batches"
    say(f"{profile.engine}, {best.threads} threads, {batch}: used from now on, unless told otherwise")
    emit_text(str(path))


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [f"{'engine':<14}{'threads':>8}{'batch':>8}{'16-token query':>17}{'tokens/s':>10}{'visits':>8}"]
    for row in rows:
        query = f"{row['query_ms']:.1f} ms" if row["query_ms"] else "-"
        batch = row["batch_tokens"] or "own"
        lines.append(
            f"{row['engine']:<14}{row['threads']:>8}{batch:>8}{query:>17}{row['tokens_per_s']:>10.0f}{row['visits']:>8}"
        )
    return "\n".join(lines)
