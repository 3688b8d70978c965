"""onnxruntime's saved session: the optimized graph, and its weights packed as the kernels read them, to be mapped.

A plain session packs the weights into private memory at each start. A saved session maps the packed weights: for BGE-M3
in int8 private memory falls from 301 to 13 MB, and processes share the pages.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...bundle import Bundle
from ...bundle.sessions import saturates
from ..onnxruntime import SESSION_FILES, open_session, save_session

__all__ = ["GROWTH", "open_session", "supported", "write"]

GROWTH = 1.7  # most bytes on disk for each byte of the bundle; measured 1.53
_ALIGNMENT = 64  # bytes of an AVX-512 load
_PACKED = re.compile(rb"\+\d+\|(\d+);\d+;")  # in the graph: operator+hash|offset;bytes;...


def supported(bundle: Bundle) -> bool:
    """Whether the session can be saved: one that turns the weights of an older export to u8 cannot."""
    return bundle.manifest.precision != "fp16" and not saturates(bundle.manifest)


def write(bundle: Bundle, directory: Path, threads: int) -> bool:
    """Save the session, for any number of threads; return False where kernels would crash on the packed weights."""
    save_session(bundle, directory)
    return _aligned(directory / SESSION_FILES[0])


def _aligned(graph: Path) -> bool:
    """Whether every packed weight is aligned for the kernels: onnxruntime 1.31 does not align those below 1 MB."""
    starts = [int(start) for start in _PACKED.findall(graph.read_bytes())]
    return bool(starts) and not any(start % _ALIGNMENT for start in starts)
