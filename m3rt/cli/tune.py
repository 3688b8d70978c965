"""m3rt tune: find the fastest settings of a bundle on this machine and keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from ..values.counts import counted
from .parts.console import bar, emit_text, say, size
from .parts.options import model_argument


@click.command("tune")
@model_argument
@click.option("--device", default="auto", envvar="M3RT_DEVICE", show_envvar=True,
              help="auto, cpu, cuda, or cuda:1 for the second card.")  # fmt: skip
@click.option("--seconds", type=click.IntRange(1, 600), default=60, help="How long to measure, about.")
@click.option("--save-session/--no-save-session", default=True, help="Save the session of the fastest engine.")
def command(model: str, device: str, seconds: int, save_session: bool) -> None:
    """Find the fastest engine, threads and batches for this machine, and keep them.

    The result is a profile in M3RT_CACHE, by default ~/.cache/m3rt, that every later load of this bundle on the CPU,
    or on this kind of card, uses for what is not given explicitly. Another machine, m3rt, engine or bundle makes it
    stale: it is then ignored with a warning until tune runs again. M3RT_TUNE=0 ignores it. The profile's path is
    printed on stdout.

    With --save-session the session of the fastest engine is saved too (onnxruntime: 1.5 times the size of the bundle,
    mapped and shared by processes; openvino: once), so that later processes start faster.

    MODEL is a bundle's directory  [default: m3-tiny, which comes with m3rt; env var: M3RT_MODEL].
    """
    from dataclasses import replace

    from ..bundle import open_bundle
    from ..engines import checked, load_engine, saved
    from ..engines import profile as tuning
    from ..errors import DeviceMissing
    from ..tuning.tuner import tune

    bundle = open_bundle(model)
    checked("auto", device, None)
    card = tuning.card_of(bundle, device)
    if device.startswith("cuda") and not card:
        load_engine(bundle, device=device)  # says what keeps it from the card
        raise DeviceMissing(
            f"{device} works, but no package is called onnxruntime-gpu, by which profiles of cards hold"
        )
    on = "cpu" if not card else "cuda" if device == "auto" else device
    tuning.make_folder(bundle)  # fail on an unusable cache before a minute of work
    tuning.forget_stale(bundle, card)
    with bar(total=100, bar_format="{desc:<36.36} {percentage:3.0f}% |{bar}| {elapsed}") as progress:

        def show(part: float, what: str) -> None:
            progress.n = round(100 * part)
            progress.set_description_str(what)

        def left_out(engine: str, why: str) -> None:
            say(f"{engine} is left out: {why}")

        profile = tune(bundle, seconds, device=on, progress=show, left_out=left_out)
    best = profile.settings[profile.engine]
    directory = tuning.session_folder(bundle, profile.engine)
    if save_session and not card and saved.supported(bundle, profile.engine):
        files = saved.save(bundle, profile.engine, directory, best.threads)
        profile = replace(profile, settings={**profile.settings, profile.engine: replace(best, saved_session=files)})
        total = size(sum(file.size for file in files.values()))
        message = f"{total} of {profile.engine}'s session saved; --no-save-session does without"
        say(message if files else "this bundle's session cannot be saved (alignment); loading is as before")
    path = tuning.save(bundle, profile, card)
    if not card:
        saved.remove_others(directory)
    emit_text(*_table(profile.measured))
    batch = f"batches of {best.batch_tokens} tokens" if best.batch_tokens else "the engine's own batches"
    say(f"{profile.engine}, {counted(best.threads, 'thread')}, {batch}: used from now on, unless told otherwise")
    emit_text(str(path))


def _table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = [f"{'engine':<14}{'threads':>8}{'batch':>8}{'16-token query':>17}{'tokens/s':>10}{'visits':>8}"]
    for row in rows:
        query = f"{row['query_ms']:.1f} ms" if row["query_ms"] else "-"
        batch = row["batch_tokens"] or "own"
        lines.append(
            f"{row['engine']:<14}{row['threads']:>8}{batch:>8}{query:>17}{row['tokens_per_s']:>10.0f}{row['visits']:>8}"
        )
    return lines
