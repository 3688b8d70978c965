"""A feed: the documents of an input on their way into an index, commit by commit."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from ...errors import InputError, OutputError
from ...input import Record, TextFile, chunks
from ...values.schema import conforms
from .meter import Meter

if TYPE_CHECKING:
    from ...encoder import Progress
    from ...index import HybridIndex

_CHARACTERS = 1 << 22  # after which a commit ends, however few its documents


class Feed:
    """Documents from `source`, `commit_every` in a commit.

    numbered: whether documents without an id are numbered from 1; else they are refused, since a number may be taken.
    Every commit of a build, which numbers, carries a note of how many documents it ends and of their hash, so that
    resume() can go on; the first is of none and comes before any is embedded. Other commits leave the note as it is.
    """

    def __init__(self, source: TextFile, commit_every: int, *, numbered: bool = True) -> None:
        self._source = source
        self._commit_every = commit_every
        self._numbered = numbered
        self._digest = sha256()
        self._done = self._rows = self._truncated = self._replaced = 0
        self._kept = 0
        self._left: Mapping[str, Any] | None = None  # the note of the commit before
        self._records = self._read()  # one pass: stdin is read once
        self._start = time.perf_counter()

    def resume(self, index: HybridIndex, settings: Mapping[str, Any]) -> None:
        """Go on where an earlier run of the same build was stopped. Raises OutputError for any other index."""
        note = self._note(complete=False) if index.info()["commit"] == 0 else index.note
        if not is_unfinished(note):
            raise OutputError(f"{index.path} is an index already; use m3rt index add, or choose another name")
        if changed := [name for name, value in settings.items() if getattr(index.settings, name) != value]:
            raise OutputError(f"{index.path} was begun with another {changed[0]}; give the same options, or remove it")
        self._left, self._kept = note, note["documents"]
        for record in islice(self._records, self._kept):
            self._count(record)
        if self._done != self._kept or self._digest.hexdigest() != note["sha256"]:
            raise OutputError(f"{index.path} was begun with other documents; give the same input, or remove it")

    def run(self, index: HybridIndex) -> None:
        """Add all that is not there yet."""
        total = self._total()
        if self._numbered and index.info()["commit"] == 0:
            self._commit(index, [], False, complete=False)
        with Meter(None if index.settings.chunk_tokens else total, self._kept) as meter:
            parts = filter(None, chunks(self._records, self._commit_every, _CHARACTERS))
            part = next(parts, [])
            for following in chain(parts, [[]]):
                self._commit(index, part, meter.ran, complete=not following)
                part = following

    def summary(self, index: HybridIndex) -> str:
        """What was added, and how fast."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        new = self._done - self._kept
        facts = [f"{new:,} documents added" + f" after {self._kept:,} of an earlier run" * bool(self._kept)]
        if index.settings.chunk_tokens:
            facts.append(f"{self._rows:,} chunks")
        if self._replaced:
            facts.append(f"{self._replaced:,} replaced")
        speed = f"{seconds:.1f} s, {new / seconds:,.1f} a second"
        cut = f"{self._truncated:,} truncated, which --chunk-tokens avoids" if self._truncated else "none truncated"
        return ", ".join([*facts, cut, f"{len(index):,} in the index", speed])

    def _commit(
        self, index: HybridIndex, part: list[Record], ran: Progress | Literal[False], *, complete: bool
    ) -> None:
        for record in part:
            self._count(record)
        note = self._note(complete=complete) if self._numbered else None
        if note and index.refresh() and index.note != self._left:
            raise OutputError(
                f"another m3rt builds {index.path} too; let one end, and choose another name or add to it"
            )
        added = index.add(
            [str(record.id) for record in part],
            [record.text for record in part],
            metadata=[record.metadata for record in part],
            note=note,
            show_progress=ran,
        )
        self._left = note
        self._rows += added.rows
        self._truncated += added.truncated
        self._replaced += added.replaced

    def _note(self, *, complete: bool) -> dict[str, Any]:
        return {"documents": self._done, "sha256": self._digest.hexdigest(), "complete": complete}

    def _count(self, record: Record) -> None:
        self._done += 1
        self._digest.update(json.dumps([record.id, record.text, record.metadata], default=str).encode())

    def _read(self) -> Iterator[Record]:
        """The documents with an id each, distinct."""
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
                raise InputError(f"document {number} has the id {name!r:.60} of an earlier one; mend it")
            seen.add(name)
            yield replace(record, id=name)

    def _total(self) -> int | None:
        """How many documents there are, which also finds a bad one before hours of work; None for what is read once."""
        path = self._source.path
        if path == "-" or not Path(path).is_file() or not os.path.getsize(path):
            return None
        return sum(1 for _ in self._read())


def is_unfinished(note: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a note is one that a build leaves on its way; others may leave any."""
    return (
        isinstance(note, Mapping)
        and note.get("complete") is False
        and conforms(note.get("documents"), int)
        and conforms(note.get("sha256"), str)
    )
