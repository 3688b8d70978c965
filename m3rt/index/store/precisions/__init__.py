"""Precisions: how an index stores vectors and computes scores from the stored arrays, one module for each."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Precision, Stored, StoredArray, TokenPrecision, best
from .binary import BITS, Binary
from .centred import CENTER, Centred
from .float32 import Float32
from .int8 import Int8
from .rescored import Rescored
from .signed import Signed

__all__ = [
    "BITS",
    "CENTER",
    "COLBERT",
    "DENSE",
    "Centred",
    "Precision",
    "Stored",
    "StoredArray",
    "TokenPrecision",
    "best",
]

_CODES, _BITS = Int8(), Binary()
_BOTH = Rescored(_BITS, _CODES)

DENSE: Mapping[str, Precision] = {
    "float32": Float32(),
    "int8": _CODES,
    "binary": Centred(),
    "binary+int8": Signed(_CODES, _BOTH),
}
COLBERT: Mapping[str, TokenPrecision] = {"int8": _CODES, "binary": _BITS, "binary+int8": _BOTH}
