"""Files: read with a limit, written so that they are whole or not there, locked against other writers."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path

_PIECE = 1 << 20  # bytes read at a time


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a manifest says of a file: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


def record(path: Path) -> FileRecord:
    """Size and hash of a file, for a manifest. Raises OSError."""
    return FileRecord(path.stat().st_size, sha256(path))


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises OSError for anything else, as for a file that cannot be read. Reading never waits: a FIFO or a device is
    refused before a byte is read, and the limit also holds for a file that grows or tells a wrong size.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        data = bytearray()
        while len(data) <= limit and found.st_size <= limit and (piece := file.read(_PIECE)):
            data += piece
        if max(len(data), found.st_size) > limit:
            raise OSError(errno.EFBIG, f"is larger than the {limit:,} bytes that such a file may have")
    return bytes(data)


def sha256(path: Path, progress: Callable[[int], object] = lambda n: None) -> str:
    """SHA-256 of a file in hex, `progress` is called with the bytes of each piece that was read. Raises OSError."""
    digest = new_sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            progress(len(piece))
    return digest.hexdigest()


@contextmanager
def replacing(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """A path to write a file to, which takes the name of `path` when the block is through.

    Then the file is on the disk, whole: nobody ever sees a part of it, and after an error or a kill `path` is as it
    was. aside: the path to write to, in the same file system, by default a hidden one beside `path`; an error removes
    it, a kill leaves it. Raises OSError.
    """
    aside = aside or path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        sync(aside)
        os.replace(aside, path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, aside: Path) -> Iterator[Path]:
    """replacing() for a folder: makes `aside`, in the same file system, to fill. `path` must be empty or not there."""
    try:
        aside.mkdir()
        yield aside
        for written in (*aside.rglob("*"), aside):
            sync(written)
        os.replace(aside, path)
        sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, on to the disk, where the system can. Raises OSError."""
    if path.is_dir() and os.name == "nt":  # which opens no folder
        return
    descriptor = os.open(path, os.O_RDWR if not path.is_dir() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Busy(Exception):
    """Another writer holds the lock."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, made if it is missing, against other threads and processes of this host.

    Raises Busy at once when it is held, OSError when it cannot be made. The lock ends with the block or with the
    process that took it: a forked child does not keep it. A lock on a file, not on a directory, is also seen by other
    hosts of an NFS share, as far as the share passes locks on.
    """
    from filelock import FileLock, Timeout

    if not path.parent.is_dir():  # filelock would make it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(str(path)) from None
    try:
        yield
    finally:
        lock.release()
