"""Files in memory: mapped read-only, without a descriptor that stays open."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_READ_BYTES = 1 << 14  # smaller files are read, because a process may have some ten thousand mappings only


def map_bytes(path: Path, size: int) -> NDArray[np.uint8]:
    """The `size` bytes of a file, read-only. A large file is mapped for as long as the array or a view of it lives.

    The descriptor is closed at once: an index has dozens of files, and a process may have only some thousand open.
    Raises OSError, also for a file that has another size.
    """
    with path.open("rb", buffering=0) as file:
        if (found := os.fstat(file.fileno()).st_size) != size:
            raise OSError(0, f"has {found} bytes, expected {size}")
        if size <= _MAX_READ_BYTES:
            if len(data := file.read(size)) != size:
                raise OSError(0, f"ended before its {size} bytes were read")
            return np.frombuffer(data, np.uint8)
        if sys.version_info >= (3, 13):
            return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, trackfd=False), np.uint8)
        if os.name != "posix":
            return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
        return _mapped(file.fileno(), size)


def _mapped(descriptor: int, size: int) -> NDArray[np.uint8]:
    """mmap(2) itself: before Python 3.13 the mmap module keeps a copy of the descriptor."""
    address = _libc().mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    buffer = (ctypes.c_ubyte * size).from_address(address)
    # Do not unmap when Python exits: another thread may still read.
    weakref.finalize(buffer, _libc().munmap, address, size).atexit = False
    return np.frombuffer(memoryview(buffer).toreadonly(), np.uint8)  # a view holds the buffer


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    off_t = ctypes.c_int64 if ctypes.sizeof(ctypes.c_void_p) == 8 else ctypes.c_long
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, off_t]
    libc.mmap.restype = ctypes.c_void_p
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc
