"""Logits of forward passes, which come by length, back in the order of the pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..engines import Outputs
from ..errors import EngineError
from .collect import some


class LogitCollector:
    """The logits of n pairs, (n, labels) float32, filled in pass by pass."""

    def __init__(self, pairs: int, labels: int) -> None:
        self.logits = np.empty((pairs, labels), np.float32)

    def add(self, rows: NDArray[np.int64], out: Outputs) -> None:
        """Put a pass's logits in their places. Raises EngineError, with the pairs, for any that is not finite."""
        assert out.logits is not None
        if len(bad := rows[~np.isfinite(out.logits).all(axis=1)]):
            raise EngineError(f"the logits are not finite for pair {some(np.sort(bad))}; nothing returned")
        self.logits[rows] = out.logits
