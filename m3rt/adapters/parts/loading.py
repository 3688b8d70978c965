"""Loads: documents of files or of an index into a database, batch by batch, so that any of them can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...embeddings import Embeddings
from ...errors import InputError, M3rtError, OutputError
from ...index.models import bundle_of, identity
from ...index.store.directory import read
from ...index.store.manifest import Model
from ...input import Record, chunks
from ...values.arguments import flag, whole_number
from ...values.counts import counted
from ...values.shown import reason, shown
from .collection import Destination

if TYPE_CHECKING:
    from ...encoder import M3Encoder
    from ...index import HybridIndex

Progress = Callable[[int], object]

BATCH = 256  # documents
_CHARACTERS = {True: 1 << 17, False: 1 << 20}  # of texts embedded at a time, by whether there are ColBERT vectors


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did: documents added, those skipped, which were there, and added ones that the model cut off."""

    added: int
    skipped: int
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Documents, and a function that makes the embeddings of those at some places among them."""

    ids: Sequence[str]
    texts: Sequence[str] | None
    metadata: Sequence[Mapping[str, Any] | None]
    embed: Callable[[Sequence[int]], Embeddings]


def load(
    destination: Destination,
    encoder: M3Encoder,
    records: Iterable[Record],
    *,
    batch: int = BATCH,
    replace: bool = False,
    progress: Progress = lambda documents: None,
) -> Loaded:
    """Embed texts and add them, `batch` at a time; after any interruption the same call goes on.

    records: each with an id, such as m3rt.input.TextFile gives them. Documents that are there are skipped without
    being embedded, or replaced; progress is given the number of each batch. Raises InputError for a text without an
    id, for an id that comes twice and for an encoder that is not the layout's, OutputError when the database fails,
    EngineError.
    """
    number = whole_number("batch", batch, 1, 1 << 20)
    if destination.layout.model is not None:
        _check_same(destination, destination.layout.model, identity(bundle_of(encoder)))
    return _run(destination, _of_texts(records, encoder, destination, number), replace, progress)


def count_records(records: Iterable[Record]) -> int:
    """The number of records. Raises InputError for one without an id and for an id that comes twice, as load() does."""
    count = _Count()
    for place, record in enumerate(records):
        count.check([_id(record, place)])
    return count.done


def load_index(
    destination: Destination,
    index: HybridIndex,
    *,
    batch: int = BATCH,
    replace: bool = False,
    progress: Progress = lambda rows: None,
) -> Loaded:
    """Add the documents of an index, with its vectors as they are stored: nothing is embedded. Resumes as load().

    Of an index in chunks, each chunk is a document `ID#FIRST`, FIRST being its first character in the text; its
    metadata has the id as "document" and its characters as "span".
    Raises InputError for a view that the index lacks and for an index that is not of the layout's model, OutputError
    when the database fails.
    """
    number = whole_number("batch", batch, 1, 1 << 20)
    if destination.layout.model is not None:
        _check_same(destination, destination.layout.model, read(index.path).model)
    return _run(destination, _of_index(index, number), replace, progress)


def _check_same(destination: Destination, wanted: Model, given: Model | None) -> None:
    if given is None or given.space != wanted.space:
        raise InputError(
            f"{destination.name} was opened for vectors of {wanted}, not of {given or 'embeddings without a model'}; "
            "open it with the layout of what is loaded"
        )


def _run(destination: Destination, batches: Iterable[_Batch], replace: bool, progress: Progress) -> Loaded:
    replace = flag("replace", replace)
    count = _Count()
    for part in batches:
        before = count.done
        count.check(part.ids)
        with _errors(destination, before):
            wanted = set(part.ids if replace else destination.missing(part.ids))
            places = [i for i, name in enumerate(part.ids) if name in wanted]
            if places:
                out = part.embed(places)
                texts = None if part.texts is None else [part.texts[i] for i in places]
                destination.add(out, [part.ids[i] for i in places], texts, [part.metadata[i] for i in places])
                count.truncated += int(out.truncated.sum())
        count.added += len(places)
        progress(len(part.ids))
    with _errors(destination, count.done):
        destination.finish()
    return Loaded(count.added, count.done - count.added, count.truncated)


@dataclass(slots=True)
class _Count:
    """The documents so far, and their ids."""

    added: int = 0
    truncated: int = 0
    seen: set[str] = field(default_factory=set)

    @property
    def done(self) -> int:
        return len(self.seen)

    def check(self, ids: Sequence[str]) -> None:
        for name in ids:
            if name in self.seen:
                raise InputError(f"document {self.done} has the id {shown(name)} again; give each id once")
            self.seen.add(name)


def _of_texts(records: Iterable[Record], encoder: M3Encoder, destination: Destination, batch: int) -> Iterator[_Batch]:
    options, characters = destination.layout.keywords(), _CHARACTERS[destination.layout.colbert is not None]
    done = 0
    for chunk in filter(None, chunks(records, batch, characters)):
        ids = [_id(record, place) for place, record in enumerate(chunk, done)]
        texts = [record.text for record in chunk]

        def embed(places: Sequence[int], texts: Sequence[str] = texts) -> Embeddings:
            return encoder.encode_corpus([texts[i] for i in places], **options)

        yield _Batch(ids, texts, [record.metadata for record in chunk], embed)
        done += len(chunk)


def _of_index(index: HybridIndex, batch: int) -> Iterator[_Batch]:
    for part in index.stored(batch):
        texts = [row.text or "" for row in part.rows] if any(row.text for row in part.rows) else None
        metadata: list[Mapping[str, Any] | None] = []
        ids = []
        for row in part.rows:
            if row.span is None:
                ids.append(row.id)
                metadata.append(row.metadata)
            else:
                ids.append(f"{row.id}#{row.span[0]}")
                metadata.append({**(row.metadata or {}), "document": row.id, "span": list(row.span)})
        yield _Batch(ids, texts, metadata, part.embeddings)


def _id(record: Record, place: int) -> str:
    if record.id is None:
        raise InputError(f"text {place} has no id, by which an interrupted load goes on; give each text one")
    return str(record.id)


@contextmanager
def _errors(destination: Destination, done: int) -> Iterator[None]:
    try:
        yield
    except M3rtError:
        raise
    except Exception as error:  # the database's client's own
        raise OutputError(
            f"{destination.name} failed after {counted(done, 'document')} ({reason(error)}); "
            "the same call goes on there"
        ) from error
