"""The quality gate of `m3rt verify --against` and `m3rt export --verify`: run it, show it, refuse a bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ...errors import InputError, OutputError
from ...values.printable import plain
from .console import say
from .meter import Meter

if TYPE_CHECKING:
    from ...bundle import Bundle
    from ...bundle.manifest import Manifest
    from ...evaluation import Gate, Task


def pass_through(
    bundle: Bundle,
    reference: Bundle,
    runtime: Mapping[str, Any],
    *,
    tasks: Sequence[Task] = (),
    limits: Mapping[str, float] | None = None,
) -> Gate:
    """Compare a bundle with its reference and keep the result in its manifest, where it can be written."""
    from ...bundle import replace_manifest
    from ...encoder import M3Encoder
    from ...evaluation import gate, gate_pairs
    from ...reranker import M3Reranker

    with Meter(None, 0) as meter:
        options: dict[str, Any] = {"limits": limits, "progress": meter.ran}
        if bundle.manifest.kind == "reranker":
            result = gate_pairs(lambda which: M3Reranker(which.path, **runtime), bundle, reference, **options)
        else:
            result = gate(lambda which: M3Encoder(which.path, **runtime), bundle, reference, tasks=tasks, **options)
    kept = {**(bundle.manifest.fidelity or {}), result.engine: result.to_json()}
    try:
        replace_manifest(bundle, replace(bundle.manifest, fidelity=kept))
    except OutputError as error:
        say(f"warning: {error}; the result is not kept")
    return result


def table(gate: Gate) -> str:
    """The checks, one a line."""
    of = plain(f", {', '.join(gate.datasets)}") if gate.datasets else ""
    lines = [f"{gate.engine} beside {gate.reference}, {gate.fidelity.sample}{of}:"]
    for check in gate.checks:
        mode = check.name.partition(" ")[2]
        interval = f"  {gate.changes[mode]}" if mode else ""
        verdict = "ok" if check.passed else "FAILED"
        limit = f"{'<=' if check.is_error else '>='} {check.limit:<8g}"
        lines.append(f"  {check.name:<28}{check.value:>9.5f}  {limit}{verdict}{interval}")
    return "\n".join(lines)


def refuse(bundle: Bundle, gates: Sequence[Gate]) -> None:
    """Exit with status 1 and one line if any check failed."""
    failed = [f"{check.name} on {gate.engine}" for gate in gates for check in gate.checks if not check.passed]
    if failed:
        say(
            f"error: {', '.join(failed)}: {bundle.path} is too far from float32; use fp32, or allow more with "
            "m3rt verify --limit"
        )
        raise click.exceptions.Exit(1)


def parsed(limits: Sequence[str], manifest: Manifest) -> dict[str, float]:
    """NAME=VALUE options for a bundle of that kind and precision as numbers. Raises InputError."""
    from ...evaluation import PAIR_LIMITS
    from ...evaluation.gate import checked_limits, limits_of

    numbers = {}
    for item in limits:
        name, _, value = item.partition("=")
        try:
            numbers[name] = float(value)
        except ValueError:
            numbers[name] = math.nan
        if not math.isfinite(numbers[name]):
            raise InputError(f"the limit is {item!r:.60}, expected NAME=NUMBER such as overlap=0.96")
    return checked_limits(numbers, PAIR_LIMITS if manifest.kind == "reranker" else limits_of(manifest))
