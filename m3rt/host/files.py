"""Files that are read with a limit, written whole or not at all, and locked against other writers."""

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

_BYTES_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A manifest's record of a file: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


def record(path: Path) -> FileRecord:
    """Return the size and hash of a file, for a manifest. Raises OSError."""
    return FileRecord(path.stat().st_size, sha256(path))


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises OSError for any other file and for one that cannot be read. Reading never waits: a FIFO or a device is
    refused before a byte is read, and the limit also holds for a file that grows or reports a wrong size.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)  # open() would refuse a folder, and leave its descriptor open
        reason = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(reason, "is no regular file")
    with open(descriptor, "rb") as file:
        data = bytearray()
        while len(data) <= limit and status.st_size <= limit and (piece := file.read(_BYTES_AT_A_TIME)):
            data += piece
        if max(len(data), status.st_size) > limit:
            raise OSError(errno.EFBIG, f"is larger than the {limit:,} bytes that such a file may have")
    return bytes(data)


def sha256(path: Path, progress: Callable[[int], object] = lambda n: None) -> str:
    """Hash a file, in hex; `progress` is called with the number of bytes of each piece read. Raises OSError."""
    digest = new_sha256()
    with path.open("rb") as file:
        while piece := file.read(_BYTES_AT_A_TIME):
            digest.update(piece)
            progress(len(piece))
    return digest.hexdigest()


@contextmanager
def replacing(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """Give a path to write a file to; the file is renamed to `path` at the end of the block.

    By then it is on the disk, whole: no reader ever sees a part of it, and after an error or a kill `path` is as it was
    before. aside: the path to write to, in the same file system, by default a hidden one beside `path`; an error
    removes it, a kill leaves it. Raises OSError.
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
    """Do what replacing() does, for a folder that is empty or missing; `aside` is made in the same file system."""
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
    """Flush a file, or the names in a folder, to the disk, if the system can. Raises OSError."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folder
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
    """Lock the file `path`, made if it is missing, against other threads and processes of this host.

    Raises Busy at once when it is locked, OSError when it cannot be made. The lock ends with the block or with the
    process that took it: a forked child does not keep it. Other hosts of an NFS share see a lock on a file, unlike one
    on a directory, if the share passes locks on.
    """
    from filelock import FileLock, Timeout

    if not path.parent.is_dir():  # which filelock would make
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
