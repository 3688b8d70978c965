"""What a reranker gives: the scores of pairs, and passages in the order of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Scores(Sequence[float]):
    """Scores of n pairs in their order, as a sequence of floats.

    values: (n,) float64. n_tokens: (n,) int64, of each pair with its special tokens. truncated: (n,) bool, whether the
    query or the passage was cut.
    """

    values: NDArray[np.float64]
    n_tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> list[float]: ...
    def __getitem__(self, place: int | slice) -> float | list[float]:
        found: float | list[float] = self.values[place].tolist()
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype) if copy is not False else np.asarray(self.values, dtype)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage of rank(): its place among those that were given, its score, and whether its pair was cut."""

    index: int
    score: float
    truncated: bool
