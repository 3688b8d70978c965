"""Sessions on disk: what an engine makes of a bundle at its start, kept, so that later starts map it.

Each engine has a module that knows how: onnxruntime.py, openvino.py.
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


class _Useless(Exception):
    """The engine would not use what it could save."""


def supported(bundle: Bundle, engine: str) -> bool:
    """Whether a CPU session of `bundle` can be saved."""
    return engine in bundle.manifest.engines and bool(_module(engine).supported(bundle))


def save(bundle: Bundle, engine: str, directory: Path, threads: int) -> dict[str, FileRecord]:
    """Save the session of `bundle` as `directory`, replacing it, and return the size and hash of each file.

    The saved session is loaded and compared with the plain one before it counts. Returns nothing, and leaves nothing,
    where a saved session could not be used. Raises OutputError, and then leaves no file.
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
                raise _Useless
            plain, kept = (
                _probe(module.open_session(bundle, "cpu", threads, folder), bundle) for folder in (None, aside)
            )
            if not _equal(plain, kept):
                raise OutputError(f"the session saved in {directory} differs from the plain one; use --no-save-session")
            for path in aside.iterdir():
                path.chmod(0o600)  # an engine writes as the umask says
            shutil.rmtree(directory, ignore_errors=True)
        return {path.name: record(path) for path in sorted(directory.iterdir())}
    except _Useless:
        return {}
    except OSError as error:
        raise OutputError(f"{directory} cannot be written: {error.strerror or error}; {_WAY_OUT}") from None
    except OutputError:
        raise
    except M3rtError as error:  # what a full disk looks like in an engine
        raise OutputError(f"{directory} cannot be written: {error}; {_WAY_OUT}") from None


def remove_others(directory: Path) -> None:
    """Remove the saved sessions beside `directory`, of other versions or engines, and what killed runs left."""
    for engine in _MODULES:
        for other in directory.parent.glob(f"*{engine}-*"):
            if other != directory:
                shutil.rmtree(other, ignore_errors=True)


def _module(engine: str) -> Any:
    return import_module(_MODULES[engine], __name__)


def _probe(engine: Engine, bundle: Bundle) -> Outputs:
    ids = np.arange(2, 18)[None] % bundle.manifest.architecture.vocab_size
    return engine.run(ids, np.ones_like(ids), bundle.manifest.heads)


def _equal(ours: Outputs, theirs: Outputs) -> bool:
    def arrays(out: Outputs) -> list[NDArray[np.float32]]:
        return [a for a in (out.dense, out.token_weights, out.colbert) if a is not None]

    return all(np.array_equal(a, b) for a, b in zip(arrays(ours), arrays(theirs), strict=True))
