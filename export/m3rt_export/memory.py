"""A limit of address space (ulimit -v) that would end an export without a word."""

from __future__ import annotations

import mmap
from pathlib import Path

from m3rt.errors import OutputError
from m3rt.host.threads import available_cpus

# The tokenizers library starts a thread for each CPU, whose allocator reserves this much, and aborts the process when
# an allocation fails: nothing can be caught then.
_ROOM_PER_CPU_BYTES = 64 << 20
_CPUS = 4  # more threads share the room


def refuse_little_room() -> None:
    """Raise OutputError where the process may not reserve what the libraries' threads do."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

        used = int(Path("/proc/self/statm").read_bytes().split()[0]) * mmap.PAGESIZE
    except (ImportError, OSError):  # another system, whose limits are not these
        return
    limit, needed = getrlimit(RLIMIT_AS)[0], used + _ROOM_PER_CPU_BYTES * (1 + min(available_cpus(), 4))
    if limit != RLIM_INFINITY and limit < needed:
        raise OutputError(
            f"the process may use {limit >> 20} MiB of address space, expected {needed >> 20} for a small model; raise "
            "the limit: ulimit -v"
        )
