"""m3rt export: a checkpoint becomes a bundle."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, get_args

import click

from ..bundle import Bundle
from ..bundle.fields import EngineName, Precision
from ..errors import CheckpointError, InputError
from ..host.extras import missing
from ..input import TextFile
from .parts.console import bar, emit_text, say, size

if TYPE_CHECKING:
    from ..evaluation import Gate

_WEIGHTS = (".bin", ".pt", ".safetensors")


@click.command("export")
@click.argument("source")
@click.argument("out")
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="int8",
    help="int8: small and fast on CPUs; int4: smaller; fp32: exact; fp16: for GPUs.",
)
@click.option(
    "--engine",
    type=click.Choice(get_args(EngineName)),
    help="Write the graph of this engine only.  [default: of every engine that runs the precision]",
)
@click.option("--revision", help="Branch, tag or commit of a Hub id.  [default: main]")
@click.option("--dense-only", is_flag=True, help="Leave out the sparse and ColBERT heads.")
@click.option("--languages", metavar="CODES", help="Keep only the pieces of these languages' scripts, such as de,ja.")
@click.option(
    "--vocab-from",
    metavar="FILE",
    multiple=True,
    help="Keep only the pieces that these texts use, of JSON lines or others; several files keep those of all.",
)
@click.option("--verify", is_flag=True, help="Export fp32 too, for a while, and measure what is lost beside it.")
def command(
    source: str,
    out: str,
    precision: Precision,
    engine: EngineName | None,
    revision: str | None,
    dense_only: bool,
    languages: str | None,
    vocab_from: tuple[str, ...],
    verify: bool,
) -> None:
    """Turn a checkpoint into a bundle.

    SOURCE is a checkpoint's directory or a Hub id such as BAAI/bge-m3. OUT is the bundle's directory, which
    must not exist yet; its path is printed on stdout. The default precision, int8, takes a quarter of the
    size of fp32 and is what m3rt is for.

    --languages and --vocab-from prune the vocabulary, most of a small model's size. All characters stay, so
    that any text still works, in smaller pieces. Lexical weights keep the ids of the whole vocabulary.

    --verify does what m3rt verify --against does, on every engine of the bundle that is installed. The bundle is
    kept, and exit status 1 says that a check failed.
    """
    if verify and precision == "fp32" and languages is None and not vocab_from:
        raise InputError("--verify compares with fp32, which this export is; leave it out")
    try:
        from m3rt_export.exporter import export
    except ModuleNotFoundError as error:
        raise CheckpointError(missing("an export", error.name or "a package", "export")) from None
    except (ImportError, MemoryError) as error:
        reason = " ".join(str(error).split()) or "out of memory"
        raise CheckpointError(f"what an export needs cannot be loaded: {reason:.200}") from None
    options: dict[str, Any] = {"engine": engine, "revision": revision, "dense_only": dense_only}

    pruning: dict[str, Any] = {
        "languages": [code.strip() for code in (languages or "").split(",") if code.strip()],
        "vocab_from": (record.text for path in vocab_from for record in TextFile(path)) if vocab_from else None,
    }
    if languages is not None and not pruning["languages"]:
        raise InputError("--languages is empty, expected codes such as en,de")

    def exported(path: str, precision: Precision, **more: Any) -> Bundle:
        with bar(bar_format="{desc} [{elapsed}]") as progress:
            steps = progress.set_description_str
            return export(source, path, precision=precision, progress=steps, **options, **more)

    start = time.perf_counter()
    bundle = exported(out, precision, **pruning)
    say(_summary(bundle, time.perf_counter() - start))
    gates = _gates(bundle, exported) if verify else []
    emit_text(str(bundle.path))
    if gates:
        from .parts.gate import refuse

        refuse(bundle, gates)


def _gates(bundle: Bundle, exported: Callable[[str, Precision], Bundle]) -> list[Gate]:
    """Each engine's outputs beside those of a float32 export, which is removed afterwards."""
    from ..bundle import open_bundle
    from ..engines import usable
    from .parts.gate import pass_through, table

    target = bundle.path.resolve()
    gates = []
    # The next export to the same place removes leftovers of a killed one by this prefix.
    prefix = f".{target.name}.partial-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent, ignore_cleanup_errors=True) as aside:
        reference = exported(os.path.join(aside, "fp32"), "fp32")
        for engine in usable(bundle):
            gates.append(pass_through(open_bundle(target), reference, {"engine": engine}))
            for line in table(gates[-1]).splitlines():
                say(line)
    return gates


def _summary(bundle: Bundle, seconds: float) -> str:
    files = bundle.manifest.source.files
    before = sum(record.size for name, record in files.items() if PurePosixPath(name).suffix in _WEIGHTS)
    after = bundle.size()
    was = f"{size(before)} of weights became " * bool(before)
    ratio = f", {after / max(before, 1):.0%}" * bool(before)
    return f"{was}a bundle of {size(after)}{ratio}, in {seconds:.1f} s"
