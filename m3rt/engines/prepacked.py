"""An onnxruntime session on disk: the optimized graph, and its weights as its kernels want them, to be mapped.

A plain session copies and packs the weights at each start and holds them as its own memory. A saved one maps what is
packed already: private memory falls from 301 to 13 MB for BGE-M3 in int8, and processes share the pages.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..cpu import has_vnni
from ..errors import M3rtError, OutputError
from .base import Heads, Outputs
from .onnxruntime import PREPARED, OnnxRuntimeEngine, open_session, save_session

NAME = "onnxruntime"
_ALIGNMENT = 64  # AVX-512 loads
_PACKED = re.compile(rb"\+\d+\|(\d+);\d+;")  # in the graph: operator+hash|offset;bytes;...
_GROWTH = 1.7  # bytes on disk for a byte of the bundle; measured 1.53


def supported(bundle: Bundle) -> bool:
    """Whether a CPU session of `bundle` can be saved: the exact int8 path of old CPUs cannot."""
    precision = bundle.manifest.precision
    return NAME in bundle.manifest.engines and (precision == "fp32" or (precision == "int8" and has_vnni()))


def save(bundle: Bundle, directory: Path) -> dict[str, int]:
    """Save the session of `bundle` as `directory`, replacing it, and return the size of each file.

    The saved session is loaded and compared with the plain one before it counts. Returns nothing, and leaves nothing,
    where onnxruntime would place the weights so that its kernels crash. Raises OutputError, and then leaves no file.
    """
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        needed = int(bundle.size() * _GROWTH)
        if (free := shutil.disk_usage(directory.parent).free) < needed:
            raise OutputError(f"{directory} needs {needed:,} bytes, {free:,} are free; {_WAY_OUT}")
        aside.mkdir(mode=0o700)
        save_session(bundle, aside)
        if not _aligned(aside / PREPARED[0]):
            return {}
        plain, saved = (_probe(open_session(bundle, "cpu", 1, folder), bundle) for folder in (None, aside))
        if not _equal(plain, saved):
            raise OutputError(f"the session saved in {directory} does not give what it gave before; use --no-prepack")
        shutil.rmtree(directory, ignore_errors=True)
        os.replace(aside, directory)
    except OSError as error:
        raise OutputError(f"{directory} cannot be written: {error.strerror or error}; {_WAY_OUT}") from None
    except OutputError:
        raise
    except M3rtError as error:  # what a full disk looks like in onnxruntime
        raise OutputError(f"{directory} cannot be written: {error}; {_WAY_OUT}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return {name: (directory / name).stat().st_size for name in PREPARED}


def remove_others(directory: Path) -> None:
    """Remove the saved sessions beside `directory`, which are of other versions, and what killed runs left."""
    for other in directory.parent.glob(f"*{NAME}-*"):
        if other != directory:
            shutil.rmtree(other, ignore_errors=True)


def _aligned(graph: Path) -> bool:
    """Whether every packed weight begins where kernels may read it: onnxruntime 1.31 does not see to it below 1 MB."""
    starts = [int(start) for start in _PACKED.findall(graph.read_bytes())]
    return bool(starts) and not any(start % _ALIGNMENT for start in starts)


_WAY_OUT = "make room, set M3RT_CACHE to a directory elsewhere, or use --no-prepack"


def _probe(engine: OnnxRuntimeEngine, bundle: Bundle) -> Outputs:
    ids = np.arange(2, 18)[None] % bundle.manifest.architecture.vocab_size
    m3 = bundle.manifest.kind == "m3"
    return engine.run(ids, np.ones_like(ids), Heads(True, m3, m3))


def _equal(ours: Outputs, theirs: Outputs) -> bool:
    def arrays(out: Outputs) -> list[NDArray[np.float32]]:
        return [a for a in (out.dense, out.token_weights, out.colbert) if a is not None]

    return all(np.array_equal(a, b) for a, b in zip(arrays(ours), arrays(theirs), strict=True))
