"""The contract of an engine: token ids in, arrays out. It knows no text and no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle.heads import Heads
from ..bundle.manifest import Manifest
from ..errors import EngineError


@dataclass(frozen=True, slots=True)
class Outputs:
    """Fresh arrays of one forward pass over a (b, s) batch; None where a head was not asked for.

    dense (b, dim) float32 with unit rows; token_weights (b, s) float32 >= 0, meaningless at padding;
    colbert (b, s - 1, dim) float32 with unit rows, without <s>, meaningless at padding; logits (b, labels) float32.
    """

    dense: NDArray[np.float32] | None
    token_weights: NDArray[np.float32] | None
    colbert: NDArray[np.float32] | None
    logits: NDArray[np.float32] | None = None


class Ports:
    """How the inputs and outputs of a bundle's graph meet `run`'s arguments and result; the same for every engine."""

    def __init__(self, manifest: Manifest) -> None:
        self.outputs = [port.name for port in manifest.graph.outputs]
        self._inputs = {port.name for port in manifest.graph.inputs}
        self._dim, self._colbert_dim = manifest.dim, manifest.architecture.colbert_dim
        self._labels = manifest.labels

    def feeds(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """An array for each input of the graph; a graph of one head has no switches."""
        switches = {name: np.array(wanted) for name, wanted in heads.keywords().items()}
        every = {"input_ids": input_ids, "attention_mask": attention_mask, **switches}
        if token_type_ids is not None:
            every["token_type_ids"] = token_type_ids
        return {name: array for name, array in every.items() if name in self._inputs}

    def result(self, arrays: Mapping[str, NDArray[np.float32]], shape: tuple[int, int], heads: Heads) -> Outputs:
        """The outputs that were asked for, for input of that shape. Raises EngineError for others than promised."""
        batch, tokens = shape
        expected = {
            "dense_vecs": (batch, self._dim),
            "token_weights": shape,
            "colbert_vecs": (batch, tokens - 1, self._colbert_dim),
            "logits": (batch, self._labels),
        }
        asked = {
            "dense_vecs": heads.dense,
            "token_weights": heads.sparse,
            "colbert_vecs": heads.colbert,
            "logits": heads.logits,
        }
        for name in (name for name, wanted in asked.items() if wanted):
            found = arrays[name]
            if found.shape != expected[name] or found.dtype != np.float32:
                raise EngineError(
                    f"the graph's {name} is {found.dtype} {found.shape}, expected float32 {expected[name]}; "
                    "export the bundle again"
                )
        return Outputs(*(arrays[name] if wanted else None for name, wanted in asked.items()))


class Engine(Protocol):
    """Runs the graph of one bundle; `run` may be called from many threads."""

    name: str
    device: str
    threads: int  # of a forward pass on the CPU
    batch_tokens: int  # padded tokens of a forward pass that run fastest here
    pass_tokens: int  # what a forward pass costs beside its tokens, in tokens

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> Outputs:
        """One forward pass: arrays (b, s), padded on the right; token_type_ids is 1 in the second text of a pair,
        for graphs that take it. Raises EngineError.
        """
        ...
