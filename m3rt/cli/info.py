"""m3rt info: what a bundle holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ..bundle import Bundle, open_bundle
from ..bundle.fields import Classifier, Port
from ..values.counts import counted
from .parts.console import emit_json, emit_text, size
from .parts.options import model_argument


@click.command("info")
@model_argument
@click.option("--json", "as_json", is_flag=True, help="The whole manifest as JSON, with path and size.")
def command(model: str, as_json: bool) -> None:
    """Show what a bundle holds.

    MODEL is a bundle's directory  [default: m3-tiny, which comes with m3rt; env var: M3RT_MODEL].
    """
    bundle = open_bundle(model)
    if as_json:
        whole = {"path": str(bundle.path), "size": bundle.size(), **bundle.manifest.to_dict()}
        emit_json(whole, indent=2)
    else:
        emit_text(*(f"{label:<11}{value}" for label, value in _rows(bundle)))


def _rows(bundle: Bundle) -> Iterator[tuple[str, str]]:
    m = bundle.manifest
    a = m.architecture
    yield "bundle", str(bundle.path)
    yield "source", f"{m.source.id}, {m.source.revision or 'a local checkpoint'}"
    yield "kind", m.kind
    yield "precision", f"{m.precision} for {' and '.join(m.engines)}"
    yield "size", f"{size(bundle.size())} in {counted(len(m.files), 'file')}"
    yield (
        "encoder",
        (
            f"{a.model_type}, {counted(a.layers, 'layer')} of {a.hidden_size}, {counted(a.heads, 'head')}, "
            f"vocabulary {a.vocab_size}"
        ),
    )
    if m.pruned:
        named = f"for {', '.join(m.pruned.languages)}" if m.pruned.languages else "to the pieces of given texts"
        yield "pruned", f"{named}: {m.pruned.pieces} pieces, whole words in {', '.join(m.pruned.scripts).lower()}"
    yield "max tokens", str(m.max_tokens)
    if m.classifier:
        yield from _classifier(m.classifier)
    if m.heads.dense:
        trained = f", also trained for {', '.join(map(str, m.matryoshka_dims))}" if m.matryoshka_dims else ""
        yield "dense", f"{m.dim} dimensions, {m.pooling} pooling{trained}"
    if m.heads.sparse:
        yield "sparse", "a weight for each token"
        yield "colbert", f"{a.colbert_dim} dimensions for each token"
    for role in ("query", "passage") if m.heads.dense else ():
        yield f"{role}", repr(m.prompts[role]) + " goes before each" if m.prompts.get(role) else "no prompt"
    for label, ports in (("input", m.graph.inputs), ("output", m.graph.outputs)):
        yield from ((label, _port(port)) for port in ports)
    for engine, measured in (m.fidelity or {"not measured": {}}).items():
        yield "fidelity", engine + "".join(f", {name} {value}" for name, value in _numbers(measured))
    yield "written by", f"m3rt {m.m3rt_version}, format {m.format_version}"


def _classifier(c: Classifier) -> Iterator[tuple[str, str]]:
    yield "labels", f"{c.labels} logit{'s' * (c.labels > 1)} for each pair of texts"
    yield "scores", "0 to 1, the logit's sigmoid" if c.activation == "sigmoid" else "the logits, any numbers"


def _numbers(measured: Any) -> list[tuple[str, Any]]:
    """The numbers that `m3rt verify` kept; its intervals and limits are shown by --json only."""
    kinds = str | float | int
    return [(name, v) for name, v in measured.items() if isinstance(v, kinds)] if isinstance(measured, dict) else []


def _port(port: Port) -> str:
    return f"{port.name} {port.dtype} ({', '.join(map(str, port.shape))})"
