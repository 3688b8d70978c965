"""Arrays as .npy files: streamed out with their hash, mapped in again, checked before anything follows them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from ..errors import HybridIndexError
from ..manifest import FileRecord

BLOCK = 1 << 24  # bytes copied at a time


def write_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> FileRecord:
    """Write consecutive `blocks` of one array to a .npy file and on to the disk; returns its size and hash."""
    dtype = np.dtype(dtype)
    digest = sha256()
    with path.open("wb") as file:
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


def map_array(path: Path, expected: FileRecord) -> NDArray[Any]:
    """A read-only view of a .npy file; HybridIndexError when it is missing, has another size or is no array."""
    try:
        found = path.stat().st_size
        if found != expected.size:
            raise HybridIndexError(f"{path} has {found} bytes, expected {expected.size}")
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise HybridIndexError(f"{path} is missing") from None
    except HybridIndexError:
        raise
    except Exception as error:  # damaged headers raise whatever their Python text does
        raise HybridIndexError(f"{path} is not an array: {' '.join(str(error).split()):.200}") from None
    return np.asarray(mapped)  # slicing numpy's memmap class costs microseconds


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
