"""A feed: the documents of a file on their way into an index, commit by commit, so that a build can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from ..errors import InputError, OutputError
from ..input import Record, TextFile, chunks
from ..values.schema import conforms
from .hybrid import HybridIndex
from .incoming import Added

if TYPE_CHECKING:
    from ..encoder import Progress

_COMMIT_CHARACTERS = 1 << 22  # a commit ends when it holds so many characters, however few its documents


class Feed:
    """Add the documents of `source` to an index, `commit_every` in a commit.

    numbered: give numbers, from 1, to documents without an id. If False such a document is an InputError, because the
    index may hold that number already. With numbers a feed is a build, and every commit of it carries a note with the
    number of documents so far and their hash, from which resume() goes on. The first commit of a build has no
    documents and comes before any of them is embedded. Commits of other feeds leave the note as it is.

    >>> feed = Feed(TextFile("docs.jsonl", metadata=True), 4096)    # doctest: +SKIP
    >>> feed.resume(index, {})    # after an interruption, with the same input    # doctest: +SKIP
    >>> feed.run(index).documents    # doctest: +SKIP
    """

    def __init__(self, source: TextFile, commit_every: int, *, numbered: bool = True) -> None:
        self.kept = 0
        self._source = source
        self._commit_every = commit_every
        self._numbered = numbered
        self._digest = sha256()
        self._done = 0
        self._last_note: Mapping[str, Any] | None = None
        self._records = self._read()  # one pass: stdin can be read only once

    @cached_property
    def total(self) -> int | None:
        """The number of documents, None where the input can be read only once.

        Counting them reads them all, so that a bad one is found before hours of work. Raises InputError.
        """
        path = self._source.path
        if path == "-" or not Path(path).is_file() or not os.path.getsize(path):
            return None
        return sum(1 for _ in self._read())

    def resume(self, index: HybridIndex, settings: Mapping[str, Any]) -> None:
        """Skip the documents that an earlier run of this build committed; `kept` is their number afterwards.

        settings: arguments of HybridIndex.create() that the index must have. Raises OutputError when the index is
        complete, was not made by a build, or was begun with other settings or documents.
        """
        note = self._note(complete=False) if index.info()["commit"] == 0 else index.note
        if not is_unfinished(note):
            raise OutputError(f"{index.path} is an index already; use m3rt index add, or choose another name")
        if changed := [name for name, value in settings.items() if getattr(index.settings, name) != value]:
            raise OutputError(f"{index.path} was begun with another {changed[0]}; give the same options, or remove it")
        self._last_note, self.kept = note, note["documents"]
        for record in islice(self._records, self.kept):
            self._count(record)
        if self._done != self.kept or self._digest.hexdigest() != note["sha256"]:
            raise OutputError(f"{index.path} was begun with other documents; give the same input, or remove it")

    def run(self, index: HybridIndex, progress: Progress | Literal[False] = False) -> Added:
        """Add all documents that are not in the index yet; returns the counts of this run.

        progress: as show_progress of HybridIndex.add(). Raises as add(), and InputError for a document that cannot be
        read, or has no id, an empty one or that of an earlier document.
        """
        _ = self.total
        if self._numbered and index.info()["commit"] == 0:
            self._commit(index, [], False, complete=False)
        rows = truncated = replaced = 0
        parts = filter(None, chunks(self._records, self._commit_every, _COMMIT_CHARACTERS))
        part = next(parts, [])
        for following in chain(parts, [[]]):
            added = self._commit(index, part, progress, complete=not following)
            rows, truncated, replaced = rows + added.rows, truncated + added.truncated, replaced + added.replaced
            part = following
        return Added(self._done - self.kept, rows, truncated, replaced)

    def _commit(
        self, index: HybridIndex, part: list[Record], progress: Progress | Literal[False], *, complete: bool
    ) -> Added:
        for record in part:
            self._count(record)
        note = self._note(complete=complete) if self._numbered else None
        if note and index.refresh() and index.note != self._last_note:
            raise OutputError(
                f"another m3rt builds {index.path} too; let one end, and choose another name or add to it"
            )
        added = index.add(
            [str(record.id) for record in part],
            [record.text for record in part],
            metadata=[record.metadata for record in part],
            note=note,
            show_progress=progress,
        )
        self._last_note = note
        return added

    def _note(self, *, complete: bool) -> dict[str, Any]:
        return {"documents": self._done, "sha256": self._digest.hexdigest(), "complete": complete}

    def _count(self, record: Record) -> None:
        self._done += 1
        self._digest.update(json.dumps([record.id, record.text, record.metadata], default=str).encode())

    def _read(self) -> Iterator[Record]:
        """The documents, each with an id of its own."""
        seen = set()
        for number, record in enumerate(self._source, 1):
            if record.id is None and not self._numbered:
                raise InputError(
                    f"document {number} has no {self._source.id_names}, which tells it from those of the index; "
                    "choose with --id-field"
                )
            name = str(number if record.id is None else record.id)
            if not name:
                raise InputError(
                    f"document {number} has an empty {self._source.id_names}; give it one, or leave it out"
                )
            if name in seen:
                raise InputError(
                    f"document {number} has the id {name!r:.60} of an earlier one; give each document its own id"
                )
            seen.add(name)
            yield replace(record, id=name)


def is_unfinished(note: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a build that has not finished wrote this note; the notes of other writers may hold anything."""
    return (
        isinstance(note, Mapping)
        and note.get("complete") is False
        and conforms(note.get("documents"), int)
        and conforms(note.get("sha256"), str)
    )
