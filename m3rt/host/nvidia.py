"""NVIDIA's driver, asked without any CUDA library: the version of CUDA that it runs, and the names of its cards."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# Of cuInit(): https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
_FAULTS = {
    3: "CUDA cannot start in a forked process whose parent uses it; start processes with 'spawn'",
    100: "the driver finds no card; see CUDA_VISIBLE_DEVICES, and whether a container was given one",
    803: "the driver's library and its kernel module are of different versions; reboot",
}


class Driver(NamedTuple):
    """The newest CUDA that the driver runs, (13, 0) for 13.0, and the names of the cards that it shows this process.

    fault: in a few words why there are none; "" otherwise.
    """

    cuda: tuple[int, int]
    cards: tuple[str, ...]
    fault: str = ""


def driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Ask the driver; load: opens its library. Starts CUDA in this process where there is a card."""
    try:
        library = load(_LIBRARY)
    except OSError:
        return Driver((0, 0), (), f"this machine has no NVIDIA driver ({_LIBRARY})")
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    cuda = (version.value // 1000, version.value % 1000 // 10)
    status = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return Driver(cuda, (), _FAULTS.get(status or 100, f"the driver cannot start (CUDA error {status})"))
    return Driver(cuda, tuple(_name(library, i) for i in range(count.value)))


def _name(library: Any, card: int) -> str:
    text = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(text, len(text), card)
    return text.value.decode("utf-8", "replace")
