"""m3rt index: build, change and look at an index."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..index.choices import COLBERT_PRECISIONS, DEFAULT_DENSE, DENSE_PRECISIONS
from ..input import TextFile
from ..values.counts import counted
from .parts.console import bar, emit_json, emit_text, say, size
from .parts.opened_index import opened_index
from .parts.options import FORMAT, ID_FIELD, input_option, model_option, only_with, runtime_options

if TYPE_CHECKING:
    from ..index import HybridIndex
    from ..index.feed import Feed
    from ..index.incoming import Added

_DENSE = tuple(dict.fromkeys((DEFAULT_DENSE, *DENSE_PRECISIONS, "none")))
_COLBERT = ("none", *COLBERT_PRECISIONS)


def _input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """-i, --input-format, --field, --id-field and --commit-every."""
    options = (
        input_option("Documents to read; - is stdin.", required=True),
        FORMAT,
        click.option("--field", help="The key or column that holds the text.  [default: title and text]"),
        ID_FIELD,
        click.option(
            "--commit-every",
            type=click.IntRange(min=1),
            default=4096,
            help="Documents in a commit (fewer if they are long): what an interruption costs.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("index", context_settings={"show_default": True}, no_args_is_help=False)
def command() -> None:
    """Build, change and look at an index for m3rt search.

    An index is a directory of memory-mapped files. Every change is a commit: readers see all of it or nothing, and a
    process that is killed loses only what it had not committed.
    """


@command.command("build")
@click.argument("index")
@model_option
@_input_options
@click.option("--dense", type=click.Choice(_DENSE), default=DEFAULT_DENSE, help="How dense vectors are stored.")
@click.option("--no-sparse", is_flag=True, help="Without lexical weights.")
@click.option("--colbert", type=click.Choice(_COLBERT), default="none", help="ColBERT vectors; int8 is 1 kB a token.")
@click.option("--chunk-tokens", type=int, help="Cut long texts into chunks of so many tokens.  [default: no chunks]")
@click.option("--chunk-overlap", type=int, default=64, help="Tokens that neighbouring chunks share.")
@runtime_options
def build(
    index: str, model: str, source: str, input_format: str | None, field: str, id_field: str, commit_every: int,
    dense: str, no_sparse: bool, colbert: str, chunk_tokens: int | None, chunk_overlap: int, **runtime: Any,
) -> None:  # fmt: skip
    """Make an index of documents.

    \b
    m3rt index build my-index -m BUNDLE -i passages.jsonl
    m3rt index build my-index -m BUNDLE -i books.csv --colbert int8 --chunk-tokens 512

    The input is as m3rt encode's: plain text with a document a line, .jsonl, .json, .csv, .tsv or .parquet. The text is
    "text", after "title" and a space where there is one; --field takes one field alone. The id is "_id", or "id" where
    there is no "_id". These are BEIR's rules, and m3rt eval's. All other fields, and the title, are kept as metadata;
    documents without an id are numbered. After an interruption the same command goes on, given the same input.

    Without --chunk-tokens a text is cut off at the model's limit, and the number of such texts is reported. With it, a
    search ranks a document by its best chunk.
    """
    from pathlib import Path

    from ..encoder import M3Encoder
    from ..index import HybridIndex
    from ..index.feed import Feed
    from ..index.store.manifest import INDEX

    settings: dict[str, Any] = {
        "dense": None if dense == "none" else dense,
        "sparse": not no_sparse,
        "colbert": None if colbert == "none" else colbert,
        "chunk_tokens": chunk_tokens,
        "chunk_overlap": chunk_overlap,
    }
    only_with("--chunk-tokens", chunk_tokens, "chunk_overlap")
    start = time.perf_counter()
    feed = Feed(TextFile(source, input_format, field, id_field, metadata=True, titles=True), commit_every)
    encoder = M3Encoder(model, **runtime)
    if (Path(index) / INDEX).exists():
        opened = HybridIndex(index, encoder)
        feed.resume(opened, settings)
    else:
        opened = HybridIndex.create(index, encoder, **settings)
    _feed(feed, opened, start, "the same command with the same input goes on there")


@command.command("add")
@click.argument("index")
@_input_options
@click.option("-m", "--model", help="The bundle, if it is not where it was when the index was built.")
@runtime_options
def add(
    index: str, source: str, input_format: str | None, field: str, id_field: str, commit_every: int,
    model: str | None, **runtime: Any,
) -> None:  # fmt: skip
    """Add documents, or replace those with the same id."""
    from ..index.feed import Feed

    start = time.perf_counter()
    feed = Feed(
        TextFile(source, input_format, field, id_field, metadata=True, titles=True), commit_every, numbered=False
    )
    _feed(feed, opened_index(index, model, runtime), start, "add the same input again: what is there is replaced")


@command.command("delete")
@click.argument("index")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@input_option("Ids to read; - is stdin.")
@FORMAT
@ID_FIELD
def delete(
    index: str, ids: tuple[str, ...], source: str | None, input_format: str | None, id_field: str | None
) -> None:
    """Delete documents by their ids, in one commit.

    A plain file has an id on each line, and blank lines are passed over; of other formats the ids are taken.
    """
    if bool(ids) == (source is not None):
        raise click.UsageError("Expected either ID arguments or -i FILE (-i - is stdin).")
    from ..index import HybridIndex

    named = ids if source is None else TextFile(source, input_format, id_field=id_field).ids()
    wanted = list(dict.fromkeys(named))
    deleted = HybridIndex(index).delete(wanted)
    missing = f"; {len(wanted) - deleted:,} not in it" if deleted < len(wanted) else ""
    say(f"{deleted:,} of {counted(len(wanted), 'id')} deleted from {index}{missing}")


@command.command("compact")
@click.argument("index")
@click.option("--drop-damaged", is_flag=True, help="Give up segments with files that are missing or changed.")
def compact(index: str, drop_damaged: bool) -> None:
    """Rewrite an index as one segment, without what was deleted."""
    from ..index import HybridIndex

    opened = HybridIndex(index)
    before = opened.info()["size"]
    opened.compact(drop_damaged=drop_damaged)
    say(f"{index}: {size(before)} became {size(opened.info()['size'])}")


@command.command("info")
@click.argument("index")
@click.option("--verify", is_flag=True, help="Compare every file with its SHA-256; exit status 1 when one differs.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(index: str, verify: bool, as_json: bool) -> None:
    """Show what an index holds and which model made it."""
    from ..index import HybridIndex

    opened = HybridIndex(index)
    facts = opened.info()
    if verify:
        with bar(total=facts["size"], desc="hashes", unit="B", unit_scale=True) as progress:
            facts["faults"] = opened.verify(progress.update)
    if as_json:
        emit_json(facts, indent=2)
    else:
        emit_text(*(f"{label:<11}{value}" for label, value in _rows(facts)))
    if facts.get("faults"):
        say(f"error: {_differ(facts['faults'])}: {facts['faults'][0]}; build the index again or restore from a copy")
        raise click.exceptions.Exit(1)


def _feed(feed: Feed, index: HybridIndex, start: float, way_on: str) -> None:
    """Run a feed with a progress bar and say what it added; `way_on` says how to go on after an interruption."""
    from .parts.meter import Meter

    try:
        with Meter(None if index.settings.chunk_tokens else feed.total, feed.kept) as meter:
            added = feed.run(index, meter.ran)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{counted(len(index), 'document')} in {index.path}: {way_on}") from None
    say(_summary(added, feed.kept, index, time.perf_counter() - start))


def _summary(added: Added, kept: int, index: HybridIndex, seconds: float) -> str:
    facts = [f"{counted(added.documents, 'document')} added" + f" after {kept:,} of an earlier run" * bool(kept)]
    if index.settings.chunk_tokens:
        facts.append(counted(added.rows, "chunk"))
    if added.replaced:
        facts.append(f"{added.replaced:,} replaced")
    speed = f"{seconds:.1f} s, {added.documents / max(seconds, 1e-9):,.1f} a second"
    cut = f"{added.truncated:,} truncated, which --chunk-tokens avoids" if added.truncated else "none truncated"
    return ", ".join([*facts, cut, f"{len(index):,} in the index", speed])


def _differ(faults: Sequence[str]) -> str:
    return f"{counted(len(faults), 'file')} {'differs' if len(faults) == 1 else 'differ'}"


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from ..index.feed import is_unfinished

    settings, model = facts["settings"], facts["model"]
    yield "index", facts["path"]
    yield "documents", f"{facts['documents']:,} in {counted(facts['rows'], 'row')}, {facts['deleted_rows']:,} deleted"
    if is_unfinished(facts["note"]):
        yield "incomplete", f"{counted(facts['documents'], 'document')} so far: the same m3rt index build goes on"
    yield "size", f"{size(facts['size'])} in {counted(facts['segments'], 'segment')}, commit {facts['commit']}"
    yield "model", f"{model['id']} {model['precision']}, {model['path']}" if model else "none: made from embeddings"
    dense = f"{settings['dense_dim']} dimensions, {settings['dense']}"
    dense += f", signs first for {counted(facts['signed_rows'], 'row')}" * bool(facts["signed_rows"])
    yield "dense", dense if settings["dense"] else "not stored"
    yield "sparse", "lexical weights" if settings["sparse"] else "not stored"
    colbert = f"{settings['colbert_dim']} dimensions, {settings['colbert']}, for each token"
    yield "colbert", colbert if settings["colbert"] else "not stored"
    chunks = f"of {settings['chunk_tokens']} tokens, {settings['chunk_overlap']} shared"
    yield "chunks", chunks if settings["chunk_tokens"] else "none: a text is a row"
    for name, fault in facts["damaged"].items():
        yield "damaged", f"segment {name}: {fault}"
    if "faults" in facts:
        yield "hashes", "all match" if not facts["faults"] else _differ(facts["faults"])
    yield "written by", f"m3rt {facts['m3rt_version']}, format {facts['format_version']}"
