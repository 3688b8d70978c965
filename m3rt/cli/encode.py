"""m3rt encode: texts in, embeddings out, in bounded memory and resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bundle import open_bundle
from ..bundle.directory import sha256_of
from ..bundle.heads import Heads
from ..bundle.manifest import MANIFEST
from ..errors import EngineError, InputError
from ..input import Record, TextFile, arguments, chunks
from ..values.counts import counted
from ..version import __version__
from .parts.console import bar, say
from .parts.options import FORMAT, input_option, model_option, only_with, runtime_options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..embeddings import Embeddings
    from ..encoder import M3Encoder
    from ..output.spool import Spool
    from .parts.meter import Meter
    from .parts.stdout import Stdout

# A chunk ends after so many characters, however few its texts, by whether there are ColBERT vectors (4 kB a token).
_CHUNK_CHARACTERS = {True: 1 << 17, False: 1 << 20}


@click.command("encode")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@model_option
@input_option("Texts to read; - is stdin.")
@FORMAT
@click.option("--field", default="text", help="The key or column that holds the text.")
@click.option("-o", "--output", "out", metavar="FILE", default="-", help="A .jsonl, .npz or .parquet file.")
@click.option("--force", is_flag=True, help="Replace the output file if it exists.")
@click.option("--restart", is_flag=True, help="Drop what an interrupted run left instead of resuming it.")
@click.option("--no-dense", is_flag=True, help="Without dense vectors.")
@click.option("--sparse", is_flag=True, help="With lexical weights.")
@click.option("--colbert", is_flag=True, help="With ColBERT vectors, one a token.")
@click.option("--max-length", type=int, help="Tokens kept of each text.  [default: what the model takes]")
@click.option("--truncate-dim", type=int, help="Components kept of each vector (Matryoshka).  [default: all]")
@click.option(
    "--dense-precision", default="float32", help="float32, int8, uint8, binary or ubinary, as sentence-transformers'."
)
@click.option(
    "--dense-ranges",
    metavar="FILE",
    help="Ranges of int8 and uint8: a .npy file (2, dim).  [default: fixed ones for unit vectors]",
)
@click.option("--colbert-precision", default="float32", help="float32, or int8 with a scale for each vector.")
@click.option("--query", is_flag=True, help="Put the bundle's query prompt before each.")
@click.option("--passage", is_flag=True, help="Put the bundle's passage prompt before each.")
@click.option(
    "--chunk-size",
    type=click.IntRange(min=1),
    default=512,
    help="Texts encoded and written at a time (fewer if they are long): what an interruption costs.",
)
@runtime_options
def command(
    texts: tuple[str, ...], model: str, source: str | None, input_format: str | None, field: str, out: str,
    force: bool, restart: bool, no_dense: bool, sparse: bool, colbert: bool, max_length: int | None,
    truncate_dim: int | None, dense_precision: str, dense_ranges: str | None, colbert_precision: str,
    query: bool, passage: bool, chunk_size: int, **runtime: Any,
) -> None:  # fmt: skip
    """Embed texts: arguments, files or stdin.

    \b
    m3rt encode -m BUNDLE --sparse "What is BGE M3?"
    m3rt encode -m BUNDLE -i passages.jsonl -o passages.npz

    The input is UTF-8: plain text with a text a line (.txt, .text, .md, no suffix, stdin), .jsonl (.ndjson,
    .jsonlines), .json with a list of objects, .csv or .tsv with a header, or .parquet, each also with .gz; an "_id" or
    "id" beside the text is carried through. The output is JSON lines on stdout, or a file.

    A file grows in FILE.partial and appears when it is complete. After an interruption the same command resumes,
    given the same input: for stdin, the same stream from its start.
    """
    _check_places(texts, source, out)
    if no_dense and not (sparse or colbert):
        raise click.UsageError("--no-dense leaves nothing to give, expected --sparse or --colbert with it.")
    if query and passage:
        raise click.UsageError("Expected --query or --passage, not both.")
    only_with("--colbert", colbert, "colbert_precision")
    only_with("--dense-precision int8 or uint8", dense_precision in ("int8", "uint8"), "dense_ranges")
    only_with("-o FILE", out != "-", "force", "restart")
    options = {
        **Heads(not no_dense, sparse, colbert).keywords(),
        "max_length": max_length,
        "truncate_dim": truncate_dim,
        "dense_precision": dense_precision,
        "colbert_precision": colbert_precision,
    }
    bundle = open_bundle(model)
    role = "query" if query else "passage" if passage else None
    ranges = _ranges(dense_ranges) if dense_ranges else None
    state = {
        "m3rt": __version__,
        "bundle": sha256_of(bundle.path / MANIFEST),
        "input": source if source in (None, "-") else os.path.abspath(source),
        "input_format": input_format,
        "field": field,
        "prompt": role,
        "chunk_size": chunk_size,
        "dense_ranges": ranges.tolist() if ranges is not None else None,
        **options,
    }
    records = TextFile(source, input_format, field) if source else list(arguments(texts))
    with _sink(out, state, force, restart) as sink, _resumable(sink):
        from ..encoder import M3Encoder

        encode = partial(_method(M3Encoder(model, **runtime), role), dense_ranges=ranges, **options)
        encode([])  # refuse unusable options before a long input is read
        meter = _run(records, (chunk_size, _CHUNK_CHARACTERS[colbert]), encode, sink)
    say(meter.summary(max_length or bundle.manifest.max_tokens))


def _check_places(texts: tuple[str, ...], source: str | None, out: str) -> None:
    if bool(texts) == (source is not None):
        raise click.UsageError("Expected either TEXT arguments or -i FILE (-i - is stdin).")
    if source not in (None, "-") and os.path.exists(out) and os.path.samefile(source, out):
        raise click.UsageError(f"{out} is the input, which the output would replace; give another name with -o.")


def _ranges(path: str) -> NDArray[Any]:
    """The array of a .npy file. Raises InputError."""
    import numpy as np

    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        reason = error.strerror or "unreadable"
    except (ValueError, EOFError, MemoryError):  # the last from a header that promises too much
        reason = "no whole .npy file of numbers"
    raise InputError(f"--dense-ranges {path} cannot be used: {reason}, expected a .npy file of shape (2, dim)")


def _sink(out: str, state: dict[str, Any], force: bool, restart: bool) -> AbstractContextManager[Spool | Stdout]:
    from ..output.spool import Spool
    from .parts.stdout import Stdout

    return nullcontext(Stdout()) if out == "-" else Spool(Path(out), state, force=force, restart=restart)


@contextmanager
def _resumable(sink: Spool | Stdout) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(sink.resume) from None


def _method(encoder: M3Encoder, role: str | None) -> Callable[..., Embeddings]:
    methods: dict[str | None, Callable[..., Embeddings]] = {
        "query": encoder.encode_queries,
        "passage": encoder.encode_corpus,
        None: encoder.encode,
    }
    return methods[role]


def _count(records: list[Record] | TextFile) -> int | None:
    """The number of texts, None where they can be read only once. Counting finds a bad one before hours of work."""
    if isinstance(records, TextFile) and (records.path == "-" or not Path(records.path).is_file()):
        return None
    with bar(iterable=records, desc="reading", unit=" texts", unit_scale=True, leave=False) as counted:
        return sum(1 for _ in counted)


def _run(
    records: list[Record] | TextFile,
    limits: tuple[int, int],
    encode: Callable[..., Embeddings],
    sink: Spool | Stdout,
) -> Meter:
    """Encode the records in chunks that end at either limit, of texts and of characters; return the counts."""
    from ..output import Part
    from ..output.spool import PartNote
    from .parts.meter import Meter

    with Meter(_count(records), sink.kept) as meter:
        for number, chunk in enumerate(chunks(records, *limits)):
            note = sink.find(number, chunk)
            if note is None:
                try:
                    out = encode([record.text for record in chunk], show_progress=meter.ran)
                except (InputError, EngineError) as error:
                    raise type(error)(f"after {counted(meter.texts, 'text')}: {error}") from None
                note = PartNote.of(chunk, out)
                sink.add(number, note, Part(meter.texts, [record.id for record in chunk], out))
            meter.finished(note)
    sink.finish()
    return meter
