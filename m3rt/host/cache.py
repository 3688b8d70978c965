"""The user's cache: what m3rt keeps between runs, used only where nobody else could have put it there."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OutputError
from .files import replacing

_ELSEWHERE = "set M3RT_CACHE to a directory of your own that can be written"


def root() -> Path:
    """$M3RT_CACHE, else $XDG_CACHE_HOME/m3rt, else ~/.cache/m3rt."""
    own = os.environ.get("M3RT_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else Path(shared or os.path.expanduser("~/.cache")) / "m3rt"


def make(directory: Path) -> Path:
    """Make a directory of the cache, for this user only, if it is not there. Raises OutputError."""
    try:
        for path in (*_up_to_root(directory)[::-1], directory):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory} cannot be made: {error.strerror or error}; {_ELSEWHERE}") from None
    if why := distrust(directory):
        raise OutputError(f"{why}; {_ELSEWHERE}")
    return directory


def write(path: Path, text: str) -> Path:
    """Write a file of the cache in one step, for this user only. Raises OutputError."""
    try:
        with replacing(path) as aside:
            aside.touch(mode=0o600)
            aside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}; {_ELSEWHERE}") from None
    return path


def remove(path: Path) -> None:
    """Remove a file of the cache, if it is there. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror or error}; {_ELSEWHERE}") from None


def distrust(path: Path) -> str | None:
    """Why another user may have written what is at `path` in the cache, or None.

    It and every directory from the cache down to it must belong to this user, or to root, and be writable by no other.
    Raises OSError for what is not there.
    """
    if not hasattr(os, "geteuid"):  # Windows, where a home is its user's
        return None
    for each in (*_up_to_root(path)[::-1], path):
        found = each.stat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{each} belongs to user {found.st_uid}, not to you"
        if found.st_mode & 0o022:
            return f"{each} may be written by others (chmod go-w makes it yours)"
    return None


def _up_to_root(path: Path) -> list[Path]:
    """The directories above `path`, up to the cache."""
    top = root()
    return [parent for parent in path.parents if parent == top or top in parent.parents]
