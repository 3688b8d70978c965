"""m3rt load: texts or an index into a database."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from ..input import TextFile
from ..values.counts import counted
from .parts.console import bar, say
from .parts.options import FORMAT, ID_FIELD, MODEL, input_option, runtime_options

if TYPE_CHECKING:
    from ..adapters import Layout, Loaded

    Load = Callable[..., Loaded]

_SECONDS_BETWEEN_LINES = 60.0  # where stderr is no terminal


@click.command("load")
@click.argument("place")
@input_option("Texts to embed and load; - is stdin.")
@click.option(
    "--index", "index", metavar="INDEX", help="An index to load instead, with its vectors as they are stored."
)
@click.option("--collection", default="m3rt", help="The collection or table; a feed's namespace.")
@click.option("-m", "--model", envvar=MODEL, show_envvar=True, help="The directory of a bundle.  [default: m3-tiny]")
@FORMAT
@click.option("--field", help="The key or column that holds the text.  [default: title and text]")
@ID_FIELD
@click.option("--no-sparse", is_flag=True, help="Without lexical weights.")
@click.option("--colbert", is_flag=True, help="With ColBERT vectors, one a token.")
@click.option("--replace", is_flag=True, help="Load documents again that are there.")
@click.option("--batch", type=click.IntRange(1, 1 << 20), default=256, help="Documents in a request to the database.")
@click.option("--key", envvar="M3RT_DATABASE_KEY", show_envvar=True, help="What a Qdrant or Milvus server asks for.")
@runtime_options
def command(
    place: str, source: str | None, index: str | None, collection: str, model: str | None, input_format: str | None,
    field: str | None, id_field: str | None, no_sparse: bool, colbert: bool, replace: bool, batch: int,
    key: str | None, **runtime: Any,
) -> None:  # fmt: skip
    """Load texts or an index into a database.

    \b
    m3rt load qdrant://localhost:6333 -m BUNDLE -i passages.jsonl --collection docs
    m3rt load milvus:docs.db --index my-index

    PLACE is qdrant:DIRECTORY or qdrant://HOST:6333, milvus:FILE.db or milvus://HOST:19530, lance:DIRECTORY,
    postgresql://HOST/DATABASE (with pgvector), or vespa:FEED.jsonl; after qdrant: and milvus: also an https: URL.

    The collection is made with its indexes if it is not there; one of another width, metric or model is
    refused. Documents need ids, and are read as m3rt index build reads them. Those that are there are skipped without
    being embedded, so that after any interruption the same command goes on and doubles nothing.
    """
    if (source is None) == (index is None):
        raise click.UsageError("Expected either -i FILE (-i - is stdin) or --index INDEX.")
    from ..adapters import opened

    start = time.perf_counter()
    views = {"sparse": not no_sparse, "colbert": colbert}
    texts = TextFile(source or "", input_format, field, id_field, metadata=True, titles=True)
    total, layout, load = _of_index(index, model, views) if index else _of_texts(texts, model, views, runtime)
    destination = opened(place, collection, layout, key=key)
    try:
        with _Meter(total) as meter:
            found = load(destination, batch=batch, replace=replace, progress=meter.loaded)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on there") from None
    finally:
        destination.close()
    say(_summary(found, collection, time.perf_counter() - start))


def _of_texts(
    texts: TextFile, model: str | None, views: Mapping[str, bool], runtime: Mapping[str, Any]
) -> tuple[int | None, Layout, Load]:
    """The number of texts, if it can be known, their layout, and the function that loads them."""
    from ..adapters import Layout, load
    from ..adapters.parts.loading import count_records
    from ..bundle import DEFAULT
    from ..encoder import M3Encoder

    total, records = None, iter(texts)
    if Path(texts.path).is_file():  # it can be read twice, which finds a bad line or id before anything is made
        with bar(iterable=texts, desc="reading", unit=" texts", unit_scale=True, leave=False) as read:
            total = count_records(read)
    else:  # at least its first
        first = list(islice(records, 1))
        count_records(first)
        records = chain(first, records)
    encoder = M3Encoder(model or DEFAULT, **runtime)
    return total, Layout.of(encoder, **views), partial(load, encoder=encoder, records=records)


def _of_index(path: str, model: str | None, views: Mapping[str, bool]) -> tuple[int | None, Layout, Load]:
    """The same of an index; its model is asked for the size of its vocabulary alone."""
    from ..adapters import Layout, load_index
    from ..index import HybridIndex

    index = HybridIndex(path)
    return index.info()["rows"], Layout.of_index(index, model, **views), partial(load_index, index=index)


class _Meter:
    """The progress of a load on stderr: a bar on a terminal, elsewhere a line a minute."""

    def __init__(self, total: int | None) -> None:
        self._goal = "" if total is None else f" of {total:,}"
        self._done, self._spoken = 0, time.perf_counter()
        self._bar = bar(total=total, unit=" documents")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def loaded(self, documents: int) -> None:
        """Count a batch."""
        self._done += documents
        self._bar.update(documents)
        if self._bar.disable and time.perf_counter() - self._spoken >= _SECONDS_BETWEEN_LINES:
            self._spoken = time.perf_counter()
            say(f"{self._done:,}{self._goal} documents")


def _summary(found: Loaded, collection: str, seconds: float) -> str:
    skipped = f", {found.skipped:,} there already" if found.skipped else ""
    cut = f"{found.truncated:,} truncated" if found.truncated else "none truncated"
    speed = f"{seconds:.1f} s, {(found.added + found.skipped) / max(seconds, 1e-9):,.1f} a second"
    return f"{counted(found.added, 'document')} added to {collection}{skipped}, {cut}, {speed}"
