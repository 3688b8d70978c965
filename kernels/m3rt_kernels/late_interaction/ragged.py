"""Ragged layouts: the ranges that offsets mark, those of chosen documents, and the range that a row belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_ndarray

Index = NDArray[np.int64]


def chosen(offsets: NDArray[Any], total: int, documents: NDArray[Any] | None) -> tuple[Index, Index]:
    """Return fresh first rows and ends of `documents`, or of all documents, whose ranges cover 0..total.

    Offsets of other documents are not checked, since there may be many. Raises ValueError for offsets that fall or
    leave the rows, and for indices out of range.
    """
    _check_integers("offsets", offsets)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != total:
        raise ValueError(f"offsets must rise from 0 to {total}, the rows of vectors")
    if documents is None:
        starts, ends = offsets[:-1], offsets[1:]
    else:
        _check_integers("documents", documents)
        count = len(offsets) - 1
        if len(documents) and (documents.min() < 0 or documents.max() >= count):
            raise ValueError(f"documents are {documents.min()}..{documents.max()}, expected indices of 0..{count - 1}")
        documents = documents.astype(np.int64)  # in eight bits 255 + 1 would be 0
        starts, ends = offsets[documents], offsets[documents + 1]
    starts, ends = np.array(starts, np.int64), np.array(ends, np.int64)
    if (starts < 0).any() or (ends < starts).any() or (ends > total).any():
        raise ValueError(f"offsets must rise from 0 to {total}, the rows of vectors")
    return starts, ends


def query_segments(offsets: NDArray[Any] | None, total: int) -> tuple[Index, Index]:
    """Return the query that each of `total` tokens belongs to, and each query's number of tokens; None is one query."""
    if offsets is None:
        return np.zeros(total, np.int64), np.array([total])
    _check_integers("query_offsets", offsets)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != total or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"query_offsets must rise from 0 to {total}, the rows of query")
    lengths = (offsets[1:] - offsets[:-1]).astype(np.int64)
    return np.repeat(np.arange(len(lengths)), lengths), lengths


def _check_integers(name: str, array: NDArray[Any]) -> None:
    check_ndarray(name, array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} are {array.dtype} {array.shape}, expected integers (n,)")
