"""Arrays as .npy files: streamed out with their hash, mapped in again."""

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
        raise HybridIndexError(f"{path} is not an array: {error}") from None
    return np.asarray(mapped)  # slicing numpy's memmap class costs microseconds
