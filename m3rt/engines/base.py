"""The contract of an engine: token ids in, arrays out. It knows no text and no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..manifest import Graph


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


class Ports:
    """How the inputs and outputs of a bundle's graph meet `run`'s arguments and result; the same for every engine."""

    def __init__(self, graph: Graph) -> None:
        self.outputs = [port.name for port in graph.outputs]
        self._inputs = {port.name for port in graph.inputs}

    def feeds(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], heads: Heads
    ) -> dict[str, NDArray[Any]]:
        """An array for each input of the graph; a graph of one head has no switches."""
        every = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "return_dense": np.array(heads.dense),
            "return_sparse": np.array(heads.sparse),
            "return_colbert_vecs": np.array(heads.colbert),
        }
        return {name: array for name, array in every.items() if name in self._inputs}

    def result(self, arrays: Mapping[str, NDArray[np.float32]], heads: Heads) -> Outputs:
        """The outputs that were asked for."""
        return Outputs(
            arrays["dense_vecs"] if heads.dense else None,
            arrays["token_weights"] if heads.sparse else None,
            arrays["colbert_vecs"] if heads.colbert else None,
        )


class Engine(Protocol):
    """Runs the graph of one bundle; `run` may be called from many threads."""

    name: str
    device: str
    batch_tokens: int  # padded tokens of a forward pass that run fastest here
    pass_tokens: int  # what a forward pass costs beside its tokens, in tokens

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], heads: Heads) -> Outputs:
        """One forward pass: input_ids and attention_mask (b, s), padded on the right. Raises EngineError."""
        ...
