"""The directory of an index: one writer at a time, and commits that are complete or do not exist.

    index.json            the last commit: written aside, then renamed over the commit before
    .lock                 held by the writer
    segments/00000001/    arrays, never changed; a deletion adds a file alive-COMMIT.npy

A segment is written under a name that starts with a dot, synced, and renamed. Files that no manifest names are
leftovers of a killed writer, or belong to an earlier commit: the next writer removes them. A reader that has mapped
such a file keeps its bytes.
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
from .arrays import unreadable
from .manifest import INDEX, Manifest

SEGMENTS = "segments"
_ASIDE = f".{INDEX}"
_LOCK = ".lock"
_MANIFEST_BYTES = 1 << 26  # the most that index.json may have; the record of a segment takes 4 kB
_SEGMENT_NAME = re.compile(r"\.?\d{8}")  # with the dot of a segment that is being written


def create(path: Path, manifest: Manifest) -> None:
    """Make the directory of an empty index. Raises OutputError when something is there already."""
    with errors(path):
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is no directory; choose another name for the index")
        path.mkdir(parents=True, exist_ok=True)
        _check_free(path)  # before a lock file is left in a directory that is no index
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
        return Manifest.from_json(read_bytes(path / INDEX, _MANIFEST_BYTES).decode())
    except FileNotFoundError:
        what = f"has no {INDEX}" if path.is_dir() else "does not exist"
        raise HybridIndexError(f"{path} {what}; make an index with: m3rt index build {path}") from None
    except HybridIndexError as error:
        raise HybridIndexError(f"{path}: {error}") from None
    except NotADirectoryError:
        raise HybridIndexError(f"{path} is no directory; expected an index") from None
    except UnicodeDecodeError as error:
        raise HybridIndexError(
            f"{path / INDEX} is damaged ({error.reason}, expected UTF-8); build the index again"
        ) from None
    except OSError as error:
        raise unreadable(path / INDEX, error) from None


def publish(path: Path, manifest: Manifest, before: Manifest | None = None) -> None:
    """Make `manifest` the last commit: the moment at which everything that it names exists.

    Raises OutputError when the last commit is not `before` any more: a writer on another host, whose lock this host
    does not see, was faster or made the index anew.
    """
    if before is not None and (last := read(path)) != before:
        anew = last.commit == before.commit
        what = "was made anew" if anew else f"got commit {last.commit} from another host, expected {before.commit}"
        raise OutputError(f"{path} {what}; nothing was written: let one host write, and do it again")
    with replacing(path / INDEX, path / _ASIDE) as aside:
        aside.write_text(manifest.to_json(), encoding="utf-8")


def add_segment(path: Path, name: str, write: Callable[[Path], dict[str, FileRecord]]) -> dict[str, FileRecord]:
    """Let `write` fill a directory, then give it its name; returns the result of `write`."""
    with replacing_folder(path / SEGMENTS / name, path / SEGMENTS / f".{name}") as aside:
        return write(aside)


def collect(path: Path, manifest: Manifest) -> None:
    """Remove files of writers that the manifest does not name. Raises OutputError for links, which lead elsewhere."""
    (path / _ASIDE).unlink(missing_ok=True)
    kept = {segment.name: segment.files for segment in manifest.segments}
    made = [found for found in (path / SEGMENTS).iterdir() if _SEGMENT_NAME.fullmatch(found.name)]
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
    """Be the only writer among the processes of this host. Raises OutputError when another process is."""
    with errors(path):
        try:
            with locked(path / _LOCK):
                yield
        except Busy:
            raise OutputError(f"another writer has {path}; try again when it is done") from None


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """Turn an error of the system into one line."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OutputError(f"{path} cannot be written: {reason}; the index is as it was before") from None
