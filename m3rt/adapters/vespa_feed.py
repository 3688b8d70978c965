"""A feed for Vespa: a file of operations that a load goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ..errors import InputError, OutputError
from ..host.files import Busy, locked, replacing
from ..values.arguments import path_of
from ..values.printable import to_json
from .parts.collection import Destination
from .parts.documents import Documents
from .parts.layout import Layout
from .parts.made_by import check_made_by, record
from .parts.place import refuse_key
from .vespa import check_namespace, operations

_PUT = '{"put": '  # with which each line begins


class VespaFeed(Destination):
    """A file of feed operations, a line each, on which load() goes on; with all three views, see vespa_application().

    path: the file, made if it is not there; `name` is the namespace of the documents. A line that a kill has left
    unfinished is cut off. A hidden file beside it records the model. Raises InputError for a file with other lines,
    another layout or of another model and for a name that is no namespace, OutputError when it cannot be written or
    another process writes it.
    """

    def __init__(self, path: str | Path, name: str, layout: Layout) -> None:
        self.path, self.name, self.layout = path_of("path", path), name, layout
        check_namespace(name)
        try:
            with ExitStack() as stack:
                stack.enter_context(locked(self.path.with_name(f".{self.path.name}.lock")))
                self._file = stack.enter_context(self.path.open("a+b"))
                self._ids = self._kept()
                self._record()
                self._open = stack.pop_all()
        except Busy:
            raise OutputError(f"another process writes {self.path}; wait for it or choose another file") from None
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from None

    @classmethod
    def at(cls, where: str, name: str, layout: Layout, key: str | None = None) -> Self:
        """The feed in a file."""
        refuse_key(key)
        return cls(where, name, layout)

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def _there(self, ids: Sequence[str]) -> set[str]:
        return self._ids

    def _write(self, found: Documents) -> None:
        self._file.writelines(to_json(row).encode() + b"\n" for row in operations(found, self.name))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._ids.update(found.ids)

    def _record(self) -> None:
        """Note the model of a feed that begins, check that of one that goes on."""
        note = self.path.with_name(f".{self.path.name}.model.json")
        if self._ids:
            check_made_by(f"{self.path}", note.read_bytes() if note.exists() else None, self.layout.model)
        elif self.layout.model is not None:
            with replacing(note) as aside:
                aside.write_text(record(self.layout.model))

    def _kept(self) -> set[str]:
        """The ids of the whole lines."""
        self._file.seek(0)
        ids: set[str] = set()
        whole = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            if not whole:
                self._check(line)
            ids.add(self._id(line))
            whole += len(line)
        self._file.truncate(whole)
        return ids

    def _id(self, line: bytes) -> str:
        """The id in a line, whose vectors need not be read."""
        start = f"id:{self.name}:m3::"
        try:
            name = json.JSONDecoder().raw_decode(line.decode(), len(_PUT))[0] if line.startswith(_PUT.encode()) else ""
            if not name.startswith(start):
                raise ValueError
        except (ValueError, AttributeError):
            raise InputError(
                f"{self.path} has other lines than puts of the namespace {self.name}; choose another file"
            ) from None
        return str(name.removeprefix(start))

    def _check(self, line: bytes) -> None:
        self._id(line)
        fields = json.loads(line)["fields"]
        there = {"dense": len(fields["dense"]["values"])} if "dense" in fields else {}
        if "sparse" in fields:
            there["sparse"] = self.layout.sparse or 0  # a tensor knows no vocabulary
        if "colbert" in fields:
            there["colbert"] = len(next(iter(fields["colbert"].values()), [0] * (self.layout.colbert or 0)))
        self.layout.refuse_other(f"{self.path}", there)
