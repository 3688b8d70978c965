"""Linear maps as a graph holds them: the contract of every precision, and the two float precisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .builder import GraphBuilder

Array = NDArray[np.float32]


class Role(Enum):
    """What a map's result becomes, which decides how much of a text's vector its rounding costs."""

    SCORES = "queries and keys: only the scores of attention"
    VALUES = "what attention passes on: values, and its output"
    FFN_OUT = "the FFN's outer map: a sum of four times as many products"
    OTHER = "anything else"


class Dense(NamedTuple):
    """One linear map: weight (n, k) as in torch, bias (n,) or None."""

    weight: Array
    bias: Array | None
    role: Role = Role.OTHER


class Rows(NamedTuple):
    """Hidden states (rows, k) by value name, and the (1,) int64 value that holds their number."""

    value: str
    row_count: str


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """The values that a linear map reads, as far as they are known while the graph is written.

    absmax (k,): largest magnitude of each channel in calibration, None if it was not measured. static: absmax may
    stand for the range of every text, so that one scale serves all rows; needs absmax. gelu: the values come out of
    GELU, so that none is below -0.17. moments (k, k): mean products of two channels in calibration. rounded: results of
    rounding with the moments, by the identity of the first weight, so that the graphs of several engines share them.
    """

    absmax: Array | None = None
    static: bool = False
    gelu: bool = False
    moments: Array | None = None
    rounded: dict[int, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.static and self.absmax is None:
            raise ValueError("a static activation without absmax, expected its range in calibration")


UNKNOWN = Activation()


class Linear(Protocol):
    """Writes the linear maps of one precision into a graph."""

    dtype: Any  # of the hidden states

    def project(self, g: GraphBuilder, x: Rows, maps: Sequence[Dense], activation: Activation = UNKNOWN) -> list[str]:
        """Apply each map to the same x (rows, k): a value (rows, n) for each."""
        ...


class FloatLinear:
    """fp32 and fp16: one Gemm for each map, with its bias."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def project(self, g: GraphBuilder, x: Rows, maps: Sequence[Dense], activation: Activation = UNKNOWN) -> list[str]:
        return [self._gemm(g, x, dense.weight, dense.bias) for dense in maps]

    def _gemm(self, g: GraphBuilder, x: Rows, weight: Array, bias: Array | None) -> str:
        tensors = [g.weight(tensor, self.dtype) for tensor in (weight, bias) if tensor is not None]
        return g.op("Gemm", x.value, *tensors, transB=1)
