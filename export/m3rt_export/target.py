"""The folder that a bundle is written to: one export at a time, and whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3rt.errors import OutputError
from m3rt.host.files import Busy, locked, replacing_folder


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`: it gets the target's name if the block succeeds, else it is removed."""
    target = target.resolve()  # the real name: a link or "." cannot be replaced by a rename
    aside = target.with_name(f".{target.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OutputError(f"{target} exists and is not empty; choose another name or remove it first")
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            _remove_stale(target)
            with replacing_folder(target, aside):
                yield aside
    except OSError as error:
        # Reading errors are CheckpointErrors by now; this one is a full disk, a missing permission or a lost mount.
        raise OutputError(f"{target} cannot be written: {error.strerror or error}; nothing was kept") from error
    except MemoryError as error:
        raise OutputError(f"{target} cannot be written: out of memory; nothing was kept") from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Refuse a second export to the same folder while the first one runs."""
    lock = target.with_name(f".{target.name}.lock")
    try:
        with locked(lock):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except Busy:
        raise OutputError(
            f"{target} is being written by another export; wait for it or choose another name, nothing was changed"
        ) from None


def _remove_stale(target: Path) -> None:
    """Remove the partial folders of killed exports to the same target."""
    prefix = f".{target.name}.partial-"
    for path in target.parent.iterdir():
        pid = path.name.removeprefix(prefix).partition("-")[0]
        if path.name.startswith(prefix) and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
