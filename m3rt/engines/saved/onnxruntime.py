"""An onnxruntime session on disk: the optimized graph, and its weights as its kernels want them, to be mapped.

A plain session copies and packs the weights at each start and holds them as its own memory. A saved one maps what is
packed already: private memory falls from 301 to 13 MB for BGE-M3 in int8, and processes share the pages.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...bundle import Bundle
from ...bundle.sessions import saturates
from ..onnxruntime import SESSION_FILES, open_session, save_session

__all__ = ["GROWTH", "open_session", "supported", "write"]

GROWTH = 1.7  # bytes on disk for a byte of the bundle; measured 1.53
_ALIGNMENT = 64  # AVX-512 loads
_PACKED = re.compile(rb"\+\d+\|(\d+);\d+;")  # in the graph: operator+hash|offset;bytes;...


def supported(bundle: Bundle) -> bool:
    """A session that turns the weights of an older export to u8 cannot be saved."""
    return bundle.manifest.precision != "fp16" and not saturates(bundle.manifest)


def write(bundle: Bundle, directory: Path, threads: int) -> bool:
    """Write the session, which serves any number of threads; False where its kernels would crash on the weights."""
    save_session(bundle, directory)
    return _aligned(directory / SESSION_FILES[0])


def _aligned(graph: Path) -> bool:
    """Whether every packed weight begins where kernels may read it: onnxruntime 1.31 does not see to it below 1 MB."""
    starts = [int(start) for start in _PACKED.findall(graph.read_bytes())]
    return bool(starts) and not any(start % _ALIGNMENT for start in starts)
