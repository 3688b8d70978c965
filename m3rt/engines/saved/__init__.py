"""Saved sessions: an engine's optimized graph and packed weights, kept on disk so that later starts only map them.

Each engine has a module here with supported(), write(), open_session() and GROWTH.
"""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle import Bundle
from ...errors import M3rtError, OutputError
from ...host.files import FileRecord, record, replacing_folder
from ..base import Engine, Outputs

_MODULES: dict[str, str] = {"onnxruntime": ".onnxruntime", "openvino": ".openvino"}
_WAY_OUT = "make room, set M3RT_CACHE to a directory elsewhere, or use --no-save-session"


class _Unusable(Exception):
    """The engine could not use the session that it saved."""


def supported(bundle: Bundle, engine: str) -> bool:
    """Whether a CPU session of `bundle` can be saved."""
    return engine in bundle.manifest.engines and bool(_module(engine).supported(bundle))


def save(bundle: Bundle, engine: str, directory: Path, threads: int) -> dict[str, FileRecord]:
    """Save the session of `bundle` as `directory`, replacing it, and return the size and hash of each file.

    First the saved session is loaded and its outputs are compared with the plain one's. Where it could not be used, {}
    is returned and no file is left. Raises OutputError, and then leaves no file.
    """
    module = _module(engine)
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        needed = int(bundle.size() * module.GROWTH)
        if (free := shutil.disk_usage(directory.parent).free) < needed:
            raise OutputError(f"{directory} needs {needed:,} bytes, {free:,} are free; {_WAY_OUT}")
        with replacing_folder(directory, aside):
            aside.chmod(0o700)
            if not module.write(bundle, aside, threads):
                raise _Unusable
            plain, saved = (_probe(module.open_session(bundle, threads, folder), bundle) for folder in (None, aside))
            if not _equal(plain, saved):
                raise OutputError(f"the session saved in {directory} differs from the plain one; use --no-save-session")
            for path in aside.iterdir():
                path.chmod(0o600)  # engines write with the umask's permissions
            shutil.rmtree(directory, ignore_errors=True)
        return {path.name: record(path) for path in sorted(directory.iterdir())}
    except _Unusable:
        return {}
    except OSError as error:
        raise OutputError(f"{directory} cannot be written: {error.strerror or error}; {_WAY_OUT}") from None
    except OutputError:
        raise
    except M3rtError as error:  # so an engine reports a full disk
        raise OutputError(f"{directory} cannot be written: {error}; {_WAY_OUT}") from None


def remove_others(directory: Path) -> None:
    """Remove the saved sessions of other versions or engines beside `directory`, and the remains of killed runs."""
    for engine in _MODULES:
        for other in directory.parent.glob(f"*{engine}-*"):
            if other != directory:
                shutil.rmtree(other, ignore_errors=True)


def _module(engine: str) -> Any:
    return import_module(_MODULES[engine], __name__)


def _probe(engine: Engine, bundle: Bundle) -> Outputs:
    ids = np.arange(2, 18)[None] % bundle.manifest.architecture.vocab_size
    return engine.run(ids, np.ones_like(ids), bundle.manifest.heads)


def _equal(plain: Outputs, saved: Outputs) -> bool:
    def arrays(out: Outputs) -> list[NDArray[np.float32]]:
        return [a for a in (out.dense, out.token_weights, out.colbert) if a is not None]

    return all(np.array_equal(a, b) for a, b in zip(arrays(plain), arrays(saved), strict=True))
