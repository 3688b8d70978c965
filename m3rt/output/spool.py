"""A spool: the finished parts of an output, kept beside it until they are joined, so that a run can resume."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from ..embeddings import Embeddings
from ..errors import OutputError
from ..host.files import Busy, locked, read_bytes, replacing
from ..input import Record
from ..values.counts import counted
from ..values.schema import build, conforms
from . import check_link, format_of
from .part import Part

_STATE = "state.json"
_LOCK = ".lock"
_RECORD_BYTES = 1 << 20  # the most that the state or a note may have
_OURS = re.compile(r"state\.json|\d{8}\.(json|jsonl|npz|parquet)|\.lock|\.\d+")


@dataclass(frozen=True, slots=True)
class PartNote:
    """The record of a finished part: its counts, and the SHA-256 of the records that it was made from."""

    texts: int
    tokens: int
    truncated: int
    records: str

    @classmethod
    def of(cls, chunk: Sequence[Record], out: Embeddings) -> Self:
        """The note for `out`, the results of `chunk`."""
        return cls(len(out), int(out.n_tokens.sum()), int(out.truncated.sum()), _digest(chunk))


class Spool:
    """Parts in the directory `OUT.partial`, joined into `out` at the end; a context manager.

    out: its suffix is one of output.FORMATS. state: every option that decides the result, as plain JSON values;
    finished parts of another state are refused. force: replace `out` if it exists. restart: drop what an earlier run
    left. Every file is renamed when it is complete: a process may be killed at any moment. The directory is locked
    while a process works in it. Raises InputError for a suffix, OutputError for everything else.
    """

    def __init__(self, out: Path, state: Mapping[str, Any], *, force: bool = False, restart: bool = False) -> None:
        self._format = format_of(out)
        self._suffix = out.suffix.lower()
        self._out = _target(out, force)
        self.directory = self._out.with_name(f"{self._out.name}.partial")
        self._parts: list[Path] = []
        self._notes: dict[int, PartNote] = {}
        self._ours = False  # whether the directory may be removed
        self._lock = ExitStack()
        with self._errors():
            self._take()
            try:
                self._open(dict(state), restart)
            except BaseException:
                self.__exit__()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._notes and self._ours:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()

    @property
    def kept(self) -> int:
        """The number of texts whose results are finished."""
        return sum(note.texts for note in self._notes.values())

    @property
    def resume(self) -> str:
        """The advice after an interruption: what is kept, and how to go on."""
        if not self._notes:
            return "nothing was kept"
        return (
            f"{counted(self.kept, 'text')} done in {self.directory}: the same command with the same input resumes there"
        )

    def find(self, number: int, chunk: Sequence[Record]) -> PartNote | None:
        """The note of part `number` if it is finished; OutputError if it was made from other records."""
        note = self._notes.get(number)
        if note and note.records != _digest(chunk):
            raise OutputError(
                f"the input has changed: part {number} in {self.directory} was made from other texts or ids; "
                "give the same input, remove the directory or pass --restart"
            )
        if note:
            self._parts.append(self._part(number))
        return note

    def add(self, number: int, note: PartNote, part: Part) -> None:
        """Keep `part` as part `number`."""
        finished = self.directory / f"{number:08}.json"
        with self._errors():
            self._write(self._part(number), partial(self._format.write, part))
            # The note comes last: a part is finished when it has one, also if an interrupt comes right after its name.
            try:
                self._write(finished, partial(_dump, asdict(note)))
            finally:
                if finished.exists():
                    self._notes[number] = note
        self._parts.append(self._part(number))

    def finish(self) -> None:
        """Join the parts of find() and add(), in the order of the calls, into `out`, and remove the directory."""
        with self._errors():
            self._write(self._out, partial(self._format.join, self._parts))
            shutil.rmtree(self.directory)

    def _take(self) -> None:
        """Make the directory and lock out other processes until the lock is closed or this process ends."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.enter_context(locked(self.directory / _LOCK))
        except Busy:
            raise OutputError(f"another m3rt is writing {self._out}; wait for it or choose another name") from None

    def _part(self, number: int) -> Path:
        return self.directory / f"{number:08}{self._suffix}"

    def _open(self, state: dict[str, Any], restart: bool) -> None:
        self._check_ours()
        stored, notes = ({}, {}) if restart else self._stored()
        if notes:
            if stored != state:
                raise OutputError(
                    f"{self.directory} is from another run: {_changes(stored, state)}; remove it or pass --restart"
                )
            self._notes = notes
            self._ours = True
            self._remove(".*")
            return
        self._remove("*")
        self._ours = True
        self._write(self.directory / _STATE, partial(_dump, state))

    def _remove(self, pattern: str) -> None:
        for leftover in self.directory.glob(pattern):
            if leftover.name != _LOCK:
                leftover.unlink(missing_ok=True)

    def _check_ours(self) -> None:
        if strange := [path.name for path in self.directory.iterdir() if not _OURS.fullmatch(path.name)]:
            raise OutputError(f"{self.directory} holds {strange[0]!r}, not m3rt's; move it or choose another name")

    def _stored(self) -> tuple[dict[str, Any], dict[int, PartNote]]:
        """State and notes that an earlier run left. Raises OutputError when they are damaged."""
        try:
            state = dict(_loaded(self.directory / _STATE))
            files = {int(file.stem): file for file in self.directory.glob("[0-9]*.json")}
            # A part without its data file is computed again.
            notes = {n: build(PartNote, _loaded(file)) for n, file in files.items() if self._part(n).is_file()}
            if not all(conforms(note, PartNote) for note in notes.values()):
                raise ValueError("a note holds other values than counts and a hash")
            return state, notes
        except FileNotFoundError:
            return {}, {}
        except OSError as error:
            raise OutputError(
                f"{self.directory} cannot be read: {error.strerror or error}; try again, or pass --restart"
            ) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise OutputError(f"{self.directory} is damaged ({error}); remove it or pass --restart") from None

    def _write(self, path: Path, write: Callable[[Path], None]) -> None:
        with replacing(path, self.directory / f".{os.getpid()}") as aside:
            write(aside)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise OutputError(f"{self._out} cannot be written: {reason}; {self.resume}") from None


def _target(out: Path, force: bool) -> Path:
    """The file to write, behind any link. Raises OutputError when a file is there that must stay."""
    try:
        check_link(out)
        target = out.resolve() if out.is_symlink() else out  # a link is written through, not replaced
        exists, plain = target.exists(), target.is_file()
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{out} cannot be written: {error}") from None
    if exists and not (plain and force):
        way = "choose another name or pass --force" if plain else "it is no plain file: choose another name"
        raise OutputError(f"{out} exists already; {way}")
    return target


def _loaded(path: Path) -> Any:
    return json.loads(read_bytes(path, _RECORD_BYTES))


def _dump(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _digest(chunk: Sequence[Record]) -> str:
    return sha256(json.dumps([(record.text, record.id) for record in chunk]).encode()).hexdigest()


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in keys)
