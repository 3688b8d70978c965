"""A collection: documents in a database, under one protocol; load() fills one from texts and resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from ..embeddings import Embeddings
from ..errors import InputError, M3rtError, OutputError
from ..index.search.result import Hit
from ..input import Record, chunks
from ..values.arguments import choice_of, flag, whole_number
from ..values.shown import reason
from .documents import Documents
from .layout import Layout

if TYPE_CHECKING:
    from ..encoder import M3Encoder

Mode = Literal["dense", "sparse", "colbert", "hybrid"]

RRF_K = 60  # Cormack, Clarke and Buettcher, SIGIR 2009
_CHARACTERS = 1 << 20  # of texts embedded at a time


class Collection(Protocol):
    """Documents in a database; one that exists with another layout or metric is refused when it is opened."""

    name: str
    layout: Layout

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are not there, in order."""
        ...

    def add(
        self,
        embeddings: Embeddings,
        ids: Iterable[str],
        texts: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add documents; one whose id is there is replaced."""
        ...

    def search(self, query: Embeddings, k: int = 10, *, mode: Mode = "hybrid", candidates: int = 100) -> list[Hit]:
        """The k best documents for the embeddings of one text, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """What load() did: documents added, and those skipped, which were there."""

    added: int
    skipped: int


def load(
    collection: Collection,
    encoder: M3Encoder,
    records: Iterable[Record],
    *,
    batch: int = 256,
    replace: bool = False,
    progress: Callable[[int], object] = lambda documents: None,
) -> Loaded:
    """Embed texts and add them, `batch` at a time; after any interruption the same call goes on.

    records: each with an id, such as m3rt.input.TextFile gives them. Documents that are there are skipped without
    being embedded, or replaced; progress is given the number of each batch. Raises InputError for a text without an
    id and for an id that comes twice, OutputError when the database fails, EngineError.
    """
    batch, replace = whole_number("batch", batch, 1, 1 << 20), flag("replace", replace)
    added = skipped = 0
    for chunk in chunks(records, batch, _CHARACTERS):
        if not chunk:
            continue
        by_id = _by_id(chunk, added + skipped)
        with _errors(collection, added + skipped):
            wanted = list(by_id) if replace else collection.missing(list(by_id))
            if wanted:
                texts = [by_id[name].text for name in wanted]
                out = encoder.encode_corpus(texts, **collection.layout.keywords())
                collection.add(out, wanted, texts, [by_id[name].metadata for name in wanted])
        added += len(wanted)
        skipped += len(by_id) - len(wanted)
        progress(len(by_id))
    return Loaded(added, skipped)


def query_of(query: Embeddings, k: int, mode: str, candidates: int, layout: Layout) -> Documents:
    """The one text of a search, its views checked. Raises InputError for an option or query that does not fit."""
    whole_number("k", k, 1, 1 << 14)
    whole_number("candidates", candidates, 1, 1 << 14)
    choice_of("mode", mode, get_args(Mode))
    if mode != "hybrid" and mode not in layout.widths():
        raise InputError(f"the collection has no {mode} vectors, only {', '.join(layout.widths())}; use one of those")
    return Documents.of(query, ["query"], layout=layout)


def hit(score: float, payload: Mapping[str, Any], mode: str) -> Hit:
    """A hit of what Documents.payload() has stored; a fusion's score is no view's."""
    scores = {} if mode == "hybrid" else {mode: score}
    return Hit(payload["id"], score, scores, payload.get("text"), payload.get("metadata") or {})


def _by_id(chunk: Sequence[Record], first: int) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for place, record in enumerate(chunk, first):
        if record.id is None:
            raise InputError(f"text {place} has no id, by which an interrupted load goes on; give each text one")
        if str(record.id) in found:
            raise InputError(f"text {place} has the id {str(record.id)!r:.60} again; give each id once")
        found[str(record.id)] = record
    return found


@contextmanager
def _errors(collection: Collection, done: int) -> Iterator[None]:
    try:
        yield
    except M3rtError:
        raise
    except Exception as error:  # the database's client's own
        raise OutputError(
            f"{collection.name} failed after {done} documents ({reason(error)}); the same call goes on there"
        ) from error
