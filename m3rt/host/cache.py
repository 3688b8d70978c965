"""The user's cache: files that m3rt keeps between runs, and trusts only where no other user can write."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OutputError
from .files import replacing

_ADVICE = "set M3RT_CACHE to a directory of your own that can be written"


def root() -> Path:
    """Return $M3RT_CACHE, else $XDG_CACHE_HOME/m3rt, else ~/.cache/m3rt."""
    cache = os.environ.get("M3RT_CACHE")
    parent = os.environ.get("XDG_CACHE_HOME")
    return Path(cache) if cache else Path(parent or os.path.expanduser("~/.cache")) / "m3rt"


def make(directory: Path) -> Path:
    """Make a directory of the cache for this user only, if it is missing. Raises OutputError."""
    try:
        for path in (*_up_to_root(directory)[::-1], directory):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory} cannot be made: {error.strerror or error}; {_ADVICE}") from None
    if why := distrust(directory):
        raise OutputError(f"{why}; {_ADVICE}")
    return directory


def write(path: Path, text: str) -> Path:
    """Write a file of the cache in one step, for this user only. Raises OutputError."""
    try:
        with replacing(path) as aside:
            aside.touch(mode=0o600)
            aside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}; {_ADVICE}") from None
    return path


def remove(path: Path) -> None:
    """Remove a file of the cache, if it is there. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror or error}; {_ADVICE}") from None


def distrust(path: Path) -> str | None:
    """Say why another user may have written `path`, which lies in the cache, or return None.

    `path` and every directory from the cache down to it must belong to this user or to root, and be writable by no
    other. Raises OSError for a missing path.
    """
    if not hasattr(os, "geteuid"):  # Windows, where a home directory belongs to its user
        return None
    for place in (*_up_to_root(path)[::-1], path):
        status = place.stat()
        if status.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to user {status.st_uid}, not to you"
        if status.st_mode & 0o022:
            return f"{place} may be written by others (chmod go-w makes it yours)"
    return None


def _up_to_root(path: Path) -> list[Path]:
    """Return the directories above `path`, up to the cache."""
    top = root()
    return [parent for parent in path.parents if parent == top or top in parent.parents]
