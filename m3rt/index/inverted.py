"""The inverted index of a segment, as arrays among the segment's."""

from __future__ import annotations

from typing import Any

from m3rt_kernels import InvertedIndex
from numpy.typing import NDArray

from .arrays import check_offsets, check_places
from .columns import Arrays

_PREFIX = "inverted."  # The kernel's arrays are part of the index's format: FORMAT_VERSION changes with them.


def invert(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of the inverted index over a segment's rows."""
    built = InvertedIndex.build(arrays["sparse.offsets"], arrays["sparse.indices"], arrays["sparse.values"])
    return {_PREFIX + name: array for name, array in built.arrays().items()}


def inverted(arrays: Arrays, rows: int) -> InvertedIndex:
    """The inverted index that invert() made of so many rows. Raises ValueError when it is none."""
    parts = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
    found = InvertedIndex.from_arrays(parts)
    if found.n_docs != rows:
        raise ValueError(f"inverted.size.npy says {found.n_docs} rows, expected {rows}")
    check_offsets("inverted.indptr.npy", found.indptr, len(found.terms), len(found.docs))
    check_places("inverted.docs.npy", found.docs, rows)
    rises = found.docs[1:] > found.docs[:-1]
    inner = found.indptr[1:-1]
    rises[inner[(inner > 0) & (inner < len(found.docs))] - 1] = True  # from one term to the next
    if not rises.all():
        raise ValueError("inverted.docs.npy does not rise in each term")
    check_places("inverted.frequent.npy", found.frequent, len(found.terms))
    return found
