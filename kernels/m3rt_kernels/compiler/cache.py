"""Compiled kernels on disk: which files are used, and for which sources and instructions.

It is numba's own cache, but a file that cannot be read or written is no error, and code that others may change is not
loaded.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from . import isa

_log = logging.getLogger("m3rt_kernels")


def _digest() -> str:
    """Hash all modules of this package, since kernels of one are compiled into kernels of another."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# The sources are hashed at import, in half a millisecond. If they were hashed when a kernel is compiled, a process that
# was started before an upgrade would cache its old code under the new sources' hash, and new processes would run it.
_SOURCES = _digest()


def caches(on_miss: Callable[[], None]) -> Callable[[Callable[..., Any]], Any]:
    """Return what makes the cache of a function. on_miss is called before a compilation, and may raise to prevent it.

    Raises ImportError where numba is missing.
    """
    from numba.core.caching import FunctionCache, NullCache

    class OnDisk(FunctionCache):  # type: ignore[misc]
        """numba's cache, but an unreadable or unwritable file is no error, and any changed source is a miss."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            loaded = None
            with suppress(Exception):  # unpickling a damaged file may raise anything
                loaded = super().load_overload(sig, target_context)
            if loaded is None:
                on_miss()
            return loaded

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception:  # a full disk, or a damaged index, which would stay damaged
                with suppress(Exception):
                    self.flush()

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            instructions = isa.instruction_set()  # may need more than the features that LLVM has in the key
            return *super()._index_key(sig, codegen), _SOURCES, instructions and instructions.name

    class Nowhere(NullCache):  # type: ignore[misc]
        def load_overload(self, sig: Any, target_context: Any) -> None:
            on_miss()

    def cache_of(function: Callable[..., Any]) -> Any:
        try:
            on_disk = OnDisk(function)
        except (RuntimeError, OSError):  # no directory is writable: each process compiles
            return Nowhere()
        trusted = is_ours(Path(on_disk.cache_path), Path(function.__code__.co_filename))
        return on_disk if trusted else Nowhere()

    return cache_of


def is_ours(directory: Path, source: Path) -> bool:
    """Return whether only this user and root may put code into this directory of the cache; warn if others may.

    A directory beside the sources is trusted: whoever may write there may change the sources as well. Members of the
    directory's group are trusted, since its owner chose the group.
    """
    # On Windows only a user may write to their home.
    if directory.parent == source.parent or not hasattr(os, "geteuid"):
        return True
    status = directory.stat()
    if status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o002:
        return True
    _distrust(directory)
    return False


@cache
def _distrust(directory: Path) -> None:
    _log.warning(
        "m3rt: compiled kernels in %s are ignored: others may write there; give NUMBA_CACHE_DIR to yourself", directory
    )
