"""An index's directory: one writer at a time, commits that are whole or not there at all.

    index.json            the last commit: written aside, then renamed over the one before
    .lock                 held by the writer
    segments/00000001/    arrays, never changed; a deletion adds a file alive-COMMIT.npy

A segment is written to a name that starts with a dot, synced, and renamed. What no manifest names is left by a writer
that was killed, or belongs to an earlier commit: the next writer removes it. Readers that have it mapped keep it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import HybridIndexError, OutputError
from ...host.files import Busy, FileRecord, locked, read_bytes, replacing, replacing_folder
from .arrays import unopened
from .manifest import INDEX, Manifest

SEGMENTS = "segments"
_ASIDE = f".{INDEX}"
_LOCK = ".lock"
_MOST_BYTES = 1 << 26  # of index.json: a segment's record has 4 kB
_MADE = re.compile(r"\.?\d{8}")  # names of segments, and of those that are being written


def create(path: Path, manifest: Manifest) -> None:
    """Make the directory of an empty index. Raises OutputError when something is there already."""
    with errors(path):
        path.mkdir(parents=True, exist_ok=True)
        _check_free(path)  # before a lock file is left in somebody's directory
    with writing(path):
        _check_free(path)  # another process may have made an index meanwhile
        (path / SEGMENTS).mkdir(exist_ok=True)
        publish(path, manifest)


def _check_free(path: Path) -> None:
    strange = [found.name for found in path.iterdir() if found.name != SEGMENTS and found.name[0] != "."]
    if (path / SEGMENTS).exists():
        strange += [f"{SEGMENTS}/{found.name}" for found in (path / SEGMENTS).iterdir()]
    if strange:
        what = "is an index already: open it" if INDEX in strange else f"exists and holds {strange[0]!r}"
        raise OutputError(f"{path} {what}, or choose another name")


def read(path: Path) -> Manifest:
    """The last commit. Raises HybridIndexError when there is no index."""
    try:
        return Manifest.from_json(read_bytes(path / INDEX, _MOST_BYTES).decode())
    except FileNotFoundError:
        what = f"has no {INDEX}" if path.is_dir() else "does not exist"
        raise HybridIndexError(f"{path} {what}; make an index with: m3rt index build {path}") from None
    except NotADirectoryError:
        raise HybridIndexError(f"{path} is no directory; expected an index") from None
    except UnicodeDecodeError as error:
        raise HybridIndexError(
            f"{path / INDEX} is damaged ({error.reason}, expected UTF-8); build the index again"
        ) from None
    except OSError as error:
        raise unopened(path / INDEX, error) from None


def publish(path: Path, manifest: Manifest, before: Manifest | None = None) -> None:
    """Make `manifest` the last commit: the moment at which everything that it names exists.

    Raises OutputError when the last commit is not `before` any more: a writer on another host, whose lock is not seen
    here, was faster, or made the index anew.
    """
    if before is not None and (last := read(path)) != before:
        anew = last.commit == before.commit
        what = "was made anew" if anew else f"got commit {last.commit} from another host, expected {before.commit}"
        raise OutputError(f"{path} {what}; nothing was written: let one host write, and do it again")
    with replacing(path / INDEX, path / _ASIDE) as aside:
        aside.write_text(manifest.to_json(), encoding="utf-8")


def add_segment(path: Path, name: str, write: Callable[[Path], dict[str, FileRecord]]) -> dict[str, FileRecord]:
    """Let `write` fill a directory, and give it its name; returns what `write` did."""
    with replacing_folder(path / SEGMENTS / name, path / SEGMENTS / f".{name}") as aside:
        return write(aside)


def collect(path: Path, manifest: Manifest) -> None:
    """Remove what writers made and the manifest does not name. Raises OutputError for links: they lead elsewhere."""
    (path / _ASIDE).unlink(missing_ok=True)
    kept = {segment.name: segment.files for segment in manifest.segments}
    made = [found for found in (path / SEGMENTS).iterdir() if _MADE.fullmatch(found.name)]
    for directory in (path / SEGMENTS, *made):
        if directory.is_symlink() or not directory.is_dir():
            raise OutputError(f"{directory} is no directory of the index's own; copy what it leads to in its place")
    for directory in made:
        if directory.name not in kept:
            shutil.rmtree(directory)
            continue
        for file in directory.glob("*.npy"):
            if file.name not in kept[directory.name]:
                file.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Be the only writer, of all processes of this host, until the end or death. Raises OutputError when another is."""
    with errors(path):
        try:
            with locked(path / _LOCK):
                yield
        except Busy:
            raise OutputError(f"another writer has {path}; try again when it is done") from None


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """Turn what the system refuses into one line."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OutputError(f"{path} cannot be written: {reason}; the index is as it was before") from None
