"""Documents on their way into an index: checked, cut into chunks, embedded, quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..bundle.heads import Heads
from ..embeddings import Embeddings
from ..errors import InputError
from ..text.chunking import Chunker
from ..values.arguments import mapping_of
from ..values.counts import counted
from ..values.listing import listed
from ..values.shown import shown
from .store.columns import RowBlock
from .store.documents import Row, document_arrays
from .store.facets import simple
from .store.manifest import Settings
from .store.precisions import COLBERT, DENSE, Centred

if TYPE_CHECKING:
    from ..encoder import M3Encoder, Progress

_ROWS_AT_A_TIME = 1024  # rows quantized at a time
# Characters embedded at a time, by whether there are ColBERT vectors: those take 4 kB a token until they are quantized.
_CHARACTERS_AT_A_TIME = {True: 1 << 17, False: 1 << 20}


@dataclass(frozen=True, slots=True)
class Added:
    """Counts of one add(): documents, the rows (chunks) they became, texts that the model cut off, and ids replaced."""

    documents: int
    rows: int
    truncated: int
    replaced: int


class Incoming:
    """Turns rows into blocks for a writer, one slice after the other, and counts them.

    center: that of the index, around which bits are made, None for that of the first block.
    Raises InputError when texts, metadata or embeddings do not fit the ids or the settings.
    """

    def __init__(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        metadata: Iterable[Mapping[str, Any] | None] | None,
        settings: Settings,
    ) -> None:
        self.center: NDArray[np.float32] | None = None
        self._rows = _rows(ids, texts, metadata)
        self._settings = settings
        self._documents, self._count, self._truncated = len(ids), 0, 0

    def added(self, replaced: int) -> Added:
        """The counts, after the writer has taken all blocks."""
        return Added(self._documents, self._count, self._truncated, replaced)

    def from_embeddings(self, out: Embeddings) -> Iterator[RowBlock]:
        """Blocks of rows whose embeddings the caller has."""
        for first in range(0, len(self._rows), _ROWS_AT_A_TIME):
            yield self._block(self._rows[first : first + _ROWS_AT_A_TIME], out, first)

    def from_texts(self, encoder: M3Encoder, show_progress: Progress | Literal[False]) -> Iterator[RowBlock]:
        """Embed the texts, in chunks if the index has chunks; gives their blocks."""
        s = self._settings
        rows: Iterable[Row] = self._rows
        if s.chunk_tokens is not None:
            chunker = Chunker.of(encoder.tokenizer, encoder.manifest.max_tokens, s.chunk_tokens, s.chunk_overlap)
            rows = (chunk for row in self._rows for chunk in _chunks(row, chunker))
        heads = Heads(bool(s.dense), s.sparse, bool(s.colbert)).keywords()
        for part in _slices(rows, _CHARACTERS_AT_A_TIME[bool(s.colbert)]):
            out = encoder.encode_corpus([row.text or "" for row in part], show_progress=show_progress, **heads)
            self._truncated += int(out.truncated.sum())
            yield self._block(part, out, 0)

    def _block(self, rows: Sequence[Row], out: Embeddings, first: int) -> RowBlock:
        self._count += len(rows)
        block = RowBlock(
            {
                **document_arrays(rows),
                **_view_arrays(out, slice(first, first + len(rows)), self._settings, self.center),
            }
        )
        self.center = block.center
        return block


def _rows(
    ids: Sequence[str], texts: Sequence[str] | None, metadata: Iterable[Mapping[str, Any] | None] | None
) -> list[Row]:
    items = None if metadata is None else _listed_metadata(metadata)
    for name, values in (("texts", texts), ("metadata", items)):
        if values is not None and len(values) != len(ids):
            raise InputError(f"{len(values)} {name} for {counted(len(ids), 'id')}, expected as many")
    fields = [_fields(i, item) for i, item in enumerate(items or [None] * len(ids))]
    return [Row(name, None if texts is None else texts[i], fields[i]) for i, name in enumerate(ids)]


def _listed_metadata(metadata: Iterable[Mapping[str, Any] | None]) -> list[Any]:
    advice = '; give each row as a mapping, as df.to_dict("records") does'
    return listed("metadata", metadata, "a list with a mapping for each id", advice=advice)


def _fields(place: int, item: object) -> dict[str, Any]:
    found = {} if item is None else mapping_of(f"metadata {place}", item, "{name: value} or None")
    if not all(isinstance(name, str) for name in found):
        raise InputError(f"metadata {place} is {shown(item)}, expected {{name: value}} or None")
    return {name: simple(value) for name, value in found.items()}


def _chunks(row: Row, chunker: Chunker) -> Iterator[Row]:
    text = row.text or ""
    spans = chunker.spans(text)
    if len(spans) == 1:
        yield row
    else:
        yield from (Row(row.id, text[a:b], row.metadata, (a, b)) for a, b in spans)


def _slices(rows: Iterable[Row], characters: int) -> Iterator[list[Row]]:
    taken: list[Row] = []
    length = 0
    for row in rows:
        taken.append(row)
        length += len(row.text or "")
        if length >= characters or len(taken) == _ROWS_AT_A_TIME:
            yield taken
            taken, length = [], 0
    if taken:
        yield taken


def _view_arrays(
    out: Embeddings, rows: slice, settings: Settings, center: NDArray[np.float32] | None
) -> dict[str, NDArray[Any]]:
    """The columns that store a slice of the embeddings."""
    arrays: dict[str, NDArray[Any]] = {}
    if settings.dense and out.dense_vecs is not None:
        precision = DENSE[settings.dense]
        encode = partial(precision.encode, center=center) if isinstance(precision, Centred) else precision.encode
        arrays |= _encoded("dense", out.dense_vecs[rows], encode)
    if settings.sparse and out.sparse is not None:
        sparse = out.sparse.part(rows)
        arrays |= {"sparse.offsets": sparse.indptr, "sparse.indices": sparse.indices, "sparse.values": sparse.values}
    if settings.colbert and out.multi is not None:
        colbert = out.multi.part(rows)
        arrays |= _encoded("colbert", colbert.vectors, COLBERT[settings.colbert].encode)
        arrays["colbert.offsets"] = colbert.offsets
    return arrays


def _encoded(
    view: str, vectors: NDArray[Any], encode: Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    arrays = encode(np.ascontiguousarray(vectors, np.float32))
    return {f"{view}.{name}": array for name, array in arrays.items()}
