"""The limit of address space (ulimit -v): one that is too low would end an export without a message."""

from __future__ import annotations

import mmap
from pathlib import Path

from m3rt.errors import OutputError
from m3rt.host.threads import available_cpus

# The tokenizers library starts a thread for each CPU, and each thread's allocator reserves this much. When that fails,
# the library aborts the process, which no Python code can catch.
_BYTES_PER_THREAD = 64 << 20
_MAX_THREADS_COUNTED = 4  # more threads share their allocators


def refuse_little_room() -> None:
    """Raise OutputError if the process may not reserve as much address space as the libraries' threads do."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

        used = int(Path("/proc/self/statm").read_bytes().split()[0]) * mmap.PAGESIZE
    except (ImportError, OSError):  # a system without these limits
        return
    limit, needed = (
        getrlimit(RLIMIT_AS)[0],
        used + _BYTES_PER_THREAD * (1 + min(available_cpus(), _MAX_THREADS_COUNTED)),
    )
    if limit != RLIM_INFINITY and limit < needed:
        raise OutputError(
            f"the process may use {limit >> 20} MiB of address space, expected {needed >> 20} for a small model; raise "
            "the limit: ulimit -v"
        )
