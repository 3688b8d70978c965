"""Types of rows: a mask of the rows that a search may return, and the rows that it returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RowMask = NDArray[np.bool_] | None  # (rows,), True where a row may be returned; None: every row may
ScoredRows = tuple[NDArray[np.int64], NDArray[np.float32]]  # row numbers and their scores, best first
