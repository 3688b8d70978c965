"""Signs beside the dense vectors of a large segment: a search scans them, and scores exactly the rows that they choose.

They are derived from the vectors when a segment is written, so a segment without them is whole, and searched exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from m3rt_kernels import Signs, check_signs, dense_top_k_signs, sign_words
from numpy.typing import NDArray

from .columns import Arrays, view_arrays
from .manifest import SegmentRecord, Settings
from .precisions import Stored
from .rows import RowMask

MIN_ROWS = 1 << 16  # in a smaller segment, scoring every row takes no longer
CHOSEN_PER_HIT, MIN_CHOSEN = 32, 1024  # rows that are scored exactly; benchmarks/LOG.md has their recall
_MAX_SCORED = 1 << 14  # rows that pass a filter are all scored up to this number: 64 MB of float32 vectors
_FILES = {f"sign_{name}": name for name in Signs._fields}

_FLOATS: Mapping[str, Callable[[Stored, slice], NDArray[np.float32]]] = {
    "float32": lambda stored, rows: stored["vectors"][rows],
    "int8": lambda stored, rows: stored["codes"][rows] * stored["scales"][rows, None],
}


def has_signs(dense: str | None, rows: int) -> bool:
    """Whether a segment of so many rows is written with signs. Coarser precisions are fast, and choose by their own."""
    return dense in _FLOATS and rows >= MIN_ROWS


def lacks_signs(record: SegmentRecord, settings: Settings) -> bool:
    """Whether a segment was written before there were signs, so that writing it again makes searches faster."""
    return has_signs(settings.dense, record.rows) and not is_signed(record)


def is_signed(record: SegmentRecord) -> bool:
    return all(f"dense.{name}.npy" in record.files for name in _FILES)


def derive_signs(settings: Settings, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of signs that a segment's rows are written with, by their names in the segment."""
    rows = len(arrays["keys"])
    if not has_signs(settings.dense, rows):
        return {}
    stored, floats = view_arrays(arrays, "dense"), _FLOATS[str(settings.dense)]
    signs = sign_words(lambda begin, end: floats(stored, slice(begin, end)), rows, settings.dense_dim)
    return {f"dense.{file}": getattr(signs, name) for file, name in _FILES.items()}


def check_stored_signs(arrays: Arrays, rows: int, dim: int) -> None:
    """Raise ValueError for arrays of signs that do not fit to so many rows."""
    if signs := _signs(view_arrays(arrays, "dense")):
        check_signs(signs, rows, dim)


def chosen_rows(
    stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None, *, exact: bool
) -> NDArray[np.int64] | None:
    """The rows of a segment that are worth an exact score, None for all.

    Rows that pass a filter are all chosen when they are few. Signs choose among many, unless the search is exact.
    """
    if mask is not None and np.count_nonzero(mask) <= _MAX_SCORED:
        return np.flatnonzero(mask)
    signs, count = _signs(stored), max(MIN_CHOSEN, CHOSEN_PER_HIT * k)
    if exact or signs is None or 4 * count > len(signs.factors):
        return None
    return dense_top_k_signs(query, signs, count, alive=mask, threads=threads)[0]


def _signs(stored: Stored) -> Signs | None:
    found: dict[str, NDArray[Any]] = {name: stored[file] for file, name in _FILES.items() if file in stored}
    if not found:
        return None
    if missing := [file for file, name in _FILES.items() if name not in found]:
        raise ValueError(f"dense.{missing[0]}.npy is missing")
    return Signs(found["words"], found["factors"], found["center"])
