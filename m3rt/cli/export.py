"""m3rt export: a checkpoint becomes a bundle."""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import get_args

import click

from ..bundle import Bundle
from ..errors import CheckpointError
from ..manifest import EngineName, Precision
from .console import bar, emit_text, say, size

_WEIGHTS = (".bin", ".pt", ".safetensors")


@click.command("export")
@click.argument("source")
@click.argument("out")
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="int8",
    help="int8: small and fast on CPUs; fp32: exact; fp16: for GPUs.",
)
@click.option(
    "--engine",
    type=click.Choice(get_args(EngineName)),
    help="Write the graph of this engine only.  [default: of every engine that runs the precision]",
)
@click.option("--revision", help="Branch, tag or commit of a Hub id.  [default: main]")
@click.option("--dense-only", is_flag=True, help="Leave out the sparse and ColBERT heads.")
def command(
    source: str, out: str, precision: Precision, engine: EngineName | None, revision: str | None, dense_only: bool
) -> None:
    """Turn a checkpoint into a bundle.

    SOURCE is a checkpoint's directory or a Hub id such as BAAI/bge-m3. OUT is the bundle's directory, which
    must not exist yet; its path is printed on stdout. The default precision, int8, takes a quarter of the
    size of fp32 and is what m3rt is for.
    """
    try:
        from m3rt_export.exporter import export
    except ImportError as error:
        raise CheckpointError(
            f'an export needs {error.name}, which is not installed; run: pip install "m3rt[export]"'
        ) from None
    start = time.perf_counter()
    with bar(bar_format="{desc} [{elapsed}]") as progress:
        bundle = export(
            source,
            out,
            precision=precision,
            engine=engine,
            revision=revision,
            dense_only=dense_only,
            progress=progress.set_description_str,
        )
    say(_summary(bundle, time.perf_counter() - start))
    emit_text(str(bundle.path))


def _summary(bundle: Bundle, seconds: float) -> str:
    files = bundle.manifest.source.files
    before = sum(record.size for name, record in files.items() if PurePosixPath(name).suffix in _WEIGHTS)
    after = bundle.size()
    was = f"{size(before)} of weights became " * bool(before)
    ratio = f", {after / max(before, 1):.0%}" * bool(before)
    return f"{was}a bundle of {size(after)}{ratio}, in {seconds:.1f} s"
