"""How vectors may be stored: the arrays of each precision."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """An array of a precision: its dtype, and how many components of a vector an item of it holds (0: one a vector)."""

    dtype: str
    components: int


_CODES = {"codes": Part("i1", 1), "scales": Part("f4", 0)}
_BITS = {"bits": Part("u1", 8)}

DENSE = {"float32": {"vectors": Part("f4", 1)}, "int8": _CODES, "binary": _BITS, "binary+int8": {**_BITS, **_CODES}}
COLBERT = {"int8": _CODES, "binary": _BITS, "binary+int8": {**_BITS, **_CODES}}
