"""The contract of an engine: token ids in, arrays out. It knows no text and no tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Heads:
    """Which outputs to compute; the others cost nothing."""

    dense: bool = True
    sparse: bool = False
    colbert: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """Fresh arrays of one forward pass over a (b, s) batch; None where a head was not asked for.

    dense (b, dim) float32 with unit rows; token_weights (b, s) float32 >= 0, meaningless at padding;
    colbert (b, s - 1, dim) float32 with unit rows, without <s>, meaningless at padding.
    """

    dense: NDArray[np.float32] | None
    token_weights: NDArray[np.float32] | None
    colbert: NDArray[np.float32] | None


class Engine(Protocol):
    """Runs the graph of one bundle; `run` may be called from many threads."""

    name: str
    device: str
    batch_tokens: int  # padded tokens of a forward pass that run fastest here
    pass_tokens: int  # what a forward pass costs beside its tokens, in tokens

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], heads: Heads) -> Outputs:
        """One forward pass: input_ids and attention_mask (b, s), padded on the right. Raises EngineError."""
        ...
