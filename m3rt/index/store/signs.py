"""Signs beside the dense vectors of a large segment: a search scans them, and scores exactly the rows that they choose.

They are derived from the vectors when a segment is written, so a segment without them is whole, and searched exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from m3rt_kernels import Signs, check_signs, dense_top_k_signs, sign_words
from m3rt_kernels.checks import check_array
from numpy.typing import NDArray

from .columns import Arrays, view_arrays
from .manifest import SegmentRecord, Settings
from .precisions import BITS, DENSE, Precision, Stored, best
from .rows import RowMask, ScoredRows

MIN_ROWS = 1 << 16  # in a smaller segment, scoring every row takes little longer, and signs more space
CHOSEN_PER_HIT, MIN_CHOSEN = 32, 1024  # rows that are scored exactly; benchmarks/LOG.md has their recall
_MORE = 4  # times as many rows are chosen where these were too few, and at most one in so many rows
_DEVIATIONS = 2.25  # of an estimate from its score, that a row left out may have been underestimated by
_MAX_SCORED = 1 << 14  # rows that pass a filter are all scored up to this number: 64 MB of float32 vectors
_FILES = {f"sign_{name}": name for name in Signs._fields}
_NEEDED = [f"sign_{name}" for name in Signs._fields if name not in Signs._field_defaults]
_SIGNED = "binary+int8"  # asks for signs wherever they can choose


def has_signs(dense: str | None, rows: int) -> bool:
    """Whether a segment of so many rows is written with signs. Bits alone are signs themselves."""
    return dense not in (None, "binary") and rows >= (_MORE * MIN_CHOSEN if dense == _SIGNED else MIN_ROWS)


def lacks_signs(record: SegmentRecord, settings: Settings) -> bool:
    """Whether a segment was written before there were signs or their offsets: writing it again speeds up searches."""
    return has_signs(settings.dense, record.rows) and not all(f"dense.{name}.npy" in record.files for name in _FILES)


def is_signed(record: SegmentRecord) -> bool:
    return all(f"dense.{name}.npy" in record.files for name in _NEEDED)


def derive_signs(dense: str | None, stored: Stored, rows: int, dim: int) -> dict[str, NDArray[Any]]:
    """The arrays of signs beside the `stored` vectors (rows, dim) of a segment, by their names; maybe none."""
    if dense is None or not has_signs(dense, rows):
        return {}
    signs = sign_words(lambda begin, end: DENSE[dense].decode(stored, np.arange(begin, end)), rows, dim)
    return {file: getattr(signs, name) for file, name in _FILES.items()}


def check_stored_signs(arrays: Arrays, rows: int, dim: int) -> None:
    """Raise ValueError for arrays of signs that do not fit to so many rows."""
    stored = view_arrays(arrays, "dense")
    if signs := _signs(stored):
        check_signs(signs, rows, dim)
    if BITS in stored:
        check_array(f"dense.{BITS}.npy", stored[BITS], np.uint8, 2)
        if stored[BITS].shape != (shape := (rows, dim // 8)):
            raise ValueError(f"dense.{BITS}.npy is {stored[BITS].shape}, expected {shape}")


def find(
    precision: Precision, stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None,
    *, exact: bool = False,
) -> ScoredRows:  # fmt: skip
    """The k best rows of a segment, of those of the mask; where there are signs, they may choose which are scored."""
    for chosen in _choices(stored, query, k, mask, threads, exact=exact):
        scores = precision.score(stored, query, chosen.rows)
        if chosen.suffice(scores, k):
            return best(chosen.rows, scores, k)
    return precision.find(stored, query, k, mask, threads)


class _Chosen(NamedTuple):
    """Rows (n,) int64 that are worth an exact score, and the estimates of it by which signs chose them; or no signs."""

    rows: NDArray[np.int64]
    estimates: NDArray[np.float32] | None

    def suffice(self, scores: NDArray[np.float32], k: int) -> bool:
        """Whether the k best rows of all are likely among these. scores: of the rows, in their order.

        Where nothing is near the query, many rows are almost as good as the k-th: signs do not tell them apart.
        """
        if self.estimates is None or len(scores) <= k:
            return True
        kth = np.partition(scores, -k)[-k]
        return bool(self.estimates[-1] + _DEVIATIONS * np.std(scores - self.estimates) < kth)


def _choices(
    stored: Stored, query: NDArray[np.float32], k: int, mask: RowMask, threads: int | None, *, exact: bool
) -> Iterator[_Chosen]:
    """Rows of a segment that are worth an exact score, then more of them; after the last choice, all are.

    Rows that pass a filter are all chosen when they are few. Signs choose among many, unless the search is exact.
    """
    if mask is not None and np.count_nonzero(mask) <= _MAX_SCORED:
        yield _Chosen(np.flatnonzero(mask), None)
        return
    signs, count = _signs(stored), max(MIN_CHOSEN, CHOSEN_PER_HIT * k)
    if exact or signs is None:
        return
    while _MORE * count <= len(signs.factors):
        yield _Chosen(*dense_top_k_signs(query, signs, count, alive=mask, threads=threads))
        count *= _MORE


def _signs(stored: Stored) -> Signs | None:
    found: dict[str, NDArray[Any]] = {name: stored[file] for file, name in _FILES.items() if file in stored}
    if not found:
        return None
    if missing := [file for file in _NEEDED if file not in stored]:
        raise ValueError(f"dense.{missing[0]}.npy is missing")
    return Signs(**found)
