"""The inverted index of a segment, stored as arrays of the segment."""

from __future__ import annotations

from typing import Any

from m3rt_kernels import InvertedIndex
from numpy.typing import NDArray

from .columns import Arrays, view_arrays

# The kernel's arrays are part of the index's format: FORMAT_VERSION changes with them.
_GROUP = "inverted"


def invert(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of the inverted index over a segment's rows."""
    built = InvertedIndex.build(arrays["sparse.offsets"], arrays["sparse.indices"], arrays["sparse.values"])
    return {f"{_GROUP}.{name}": array for name, array in built.arrays().items()}


def inverted(arrays: Arrays, rows: int) -> InvertedIndex:
    """The inverted index over so many rows, from the arrays of invert(). Raises ValueError when they do not fit."""
    found = InvertedIndex.from_arrays(view_arrays(arrays, _GROUP))
    if found.n_docs != rows:
        raise ValueError(f"inverted.size.npy says {found.n_docs} rows, expected {rows}")
    return found
