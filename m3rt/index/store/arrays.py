"""Arrays as .npy files: streamed out with their hash, mapped in again, checked before anything follows them."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from math import prod
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from ...errors import HybridIndexError
from ...host.files import FileRecord
from .mapping import map_bytes

COPIED_BYTES = 1 << 24  # bytes of a column that are copied at a time
_HEADER_BYTES = 1 << 10  # a header of a .npy file ends within so many bytes; those that m3rt writes have 128


def write_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> FileRecord:
    """Write consecutive `blocks` of one array to a .npy file and on to the disk; returns its size and hash."""
    dtype = np.dtype(dtype)
    digest = sha256()
    with path.open("xb") as file:  # never overwrite a file that another host has committed
        npy.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
        file.flush()
        digest.update(path.read_bytes())
        for block in blocks:
            data = np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data
            file.write(data)
            digest.update(data)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return FileRecord(size, digest.hexdigest())


class Damage(HybridIndexError):
    """A file is not what was written: it is missing, or has another size, another hash or a bad header."""


_WAYS_OUT = {
    errno.EMFILE: "close other files or raise the limit: ulimit -n",
    errno.ENFILE: "the system has too many files open; try again when it has fewer",
    errno.ENOMEM: "too little memory or too many mappings; free some, or raise vm.max_map_count",
    errno.EACCES: "it may not be read; check its permissions",
}


def unreadable(path: Path, error: OSError) -> HybridIndexError:
    """The error for a file that exists and cannot be read, which does not mean that it is damaged."""
    way = _WAYS_OUT.get(error.errno or 0, "try again; nothing was changed")
    return HybridIndexError(f"{path} cannot be read just now ({error.strerror or error}); {way}")


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Tell a file that is missing (Damage) from one that cannot be read just now (HybridIndexError)."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise Damage(f"{path} is missing") from None
    except OSError as error:
        raise unreadable(path, error) from None


def check_size(path: Path, expected: FileRecord) -> None:
    """Raise Damage unless `path` is a regular file of the recorded size; opening a FIFO would wait. Raises OSError."""
    found = path.stat()
    if not S_ISREG(found.st_mode) or found.st_size != expected.size:
        raise Damage(f"{path} has {found.st_size} bytes, expected a file of {expected.size}")


def map_array(path: Path, expected: FileRecord) -> NDArray[Any]:
    """A read-only view of a .npy file.

    Raises Damage when it is missing, has another size or is no array, HybridIndexError when it cannot be read just now.
    """
    with opening(path):
        check_size(path, expected)
        data = map_bytes(path, expected.size)
    try:
        return _array(data)
    except Exception as error:  # numpy evaluates a header's text, so that a damaged one may raise anything
        raise Damage(f"{path} is not an array: {' '.join(str(error).split()):.200}") from None


def _array(data: NDArray[np.uint8]) -> NDArray[Any]:
    header = io.BytesIO(data[:_HEADER_BYTES].tobytes())
    if npy.read_magic(header) != (1, 0):
        raise ValueError("another version of .npy than 1.0")
    shape, fortran_order, dtype = npy.read_array_header_1_0(header)
    items = data[header.tell() :]
    if fortran_order or dtype.hasobject or items.nbytes != dtype.itemsize * prod(shape):
        raise ValueError(f"{items.nbytes} bytes for {dtype} {shape}")
    return items.view(dtype).reshape(shape)


def check_offsets(name: str, offsets: NDArray[Any], rows: int, total: int) -> None:
    """Raise ValueError unless `offsets` are (rows + 1,) int64 that rise from 0 to `total`."""
    if offsets.dtype != np.int64 or offsets.shape != (rows + 1,):
        raise ValueError(f"{name} is {offsets.dtype} {offsets.shape}, expected int64 ({rows + 1},)")
    if offsets[0] != 0 or offsets[-1] != total or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"{name} does not rise from 0 to {total}")


def check_places(name: str, places: NDArray[Any], end: int) -> None:
    """Raise ValueError unless `places` (n,) are integers in 0..end - 1."""
    if places.ndim != 1 or places.dtype.kind != "i":
        raise ValueError(f"{name} is {places.dtype} {places.shape}, expected integers in one dimension")
    if places.size and (places.min() < 0 or places.max() >= end):
        raise ValueError(f"{name} points outside of 0..{end - 1}")
