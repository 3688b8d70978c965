"""The contract of an engine: token ids in, arrays out. An engine knows no text and no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..bundle.heads import Heads
from ..bundle.renumbering import renumbering
from ..errors import EngineError


@dataclass(frozen=True, slots=True)
class Outputs:
    """Fresh arrays of one forward pass over a (b, s) batch; None where a head was not requested.

    dense (b, dim) float32 with unit rows; token_weights (b, s) float32 >= 0, meaningless at padding;
    colbert (b, s - 1, dim) float32 with unit rows, without <s>, meaningless at padding; logits (b, labels) float32.
    """

    dense: NDArray[np.float32] | None
    token_weights: NDArray[np.float32] | None
    colbert: NDArray[np.float32] | None
    logits: NDArray[np.float32] | None = None


class Ports:
    """Maps `run`'s arguments to the inputs of a bundle's graph and its outputs to `run`'s result, for every engine."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self.outputs = [port.name for port in manifest.graph.outputs]
        self._inputs = {port.name for port in manifest.graph.inputs}
        self._dim, self._colbert_dim = manifest.dim, manifest.architecture.colbert_dim
        self._labels = manifest.labels
        self._renumbering = renumbering(bundle)

    def feeds(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Make an array for each input of the graph; a graph with one head only has no switches."""
        switches = {name: np.array(requested) for name, requested in heads.keywords().items()}
        if self._renumbering:
            input_ids = self._renumbering.own(input_ids)
        arrays = {"input_ids": input_ids, "attention_mask": attention_mask, **switches}
        if token_type_ids is not None:
            arrays["token_type_ids"] = token_type_ids
        return {name: array for name, array in arrays.items() if name in self._inputs}

    def result(self, arrays: Mapping[str, NDArray[np.float32]], shape: tuple[int, int], heads: Heads) -> Outputs:
        """Return the requested outputs for input of `shape`. Raises EngineError for unexpected shapes or dtypes."""
        batch, tokens = shape
        expected = {
            "dense_vecs": (batch, self._dim),
            "token_weights": shape,
            "colbert_vecs": (batch, tokens - 1, self._colbert_dim),
            "logits": (batch, self._labels),
        }
        requested = {
            "dense_vecs": heads.dense,
            "token_weights": heads.sparse,
            "colbert_vecs": heads.colbert,
            "logits": heads.logits,
        }
        for name in (name for name, wanted in requested.items() if wanted):
            array = arrays[name]
            if array.shape != expected[name] or array.dtype != np.float32:
                raise EngineError(
                    f"the graph's {name} is {array.dtype} {array.shape}, expected float32 {expected[name]}; "
                    "export the bundle again"
                )
        return Outputs(*(arrays[name] if wanted else None for name, wanted in requested.items()))


def line(error: Exception) -> str:
    """What an engine's package says, short and on one line."""
    return " ".join(str(error).split())[:400]


class Engine(Protocol):
    """Runs the graph of one bundle; `run` may be called from many threads."""

    name: str
    device: str
    threads: int  # of a forward pass on the CPU
    batch_tokens: int  # padded tokens of a forward pass at which it runs fastest
    pass_tokens: int  # the fixed cost of a forward pass, in tokens
    parallel_passes: int  # so many at a time keep it busy

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> Outputs:
        """Run one forward pass over arrays (b, s), padded on the right. Raises EngineError.

        token_type_ids: 1 in the second text of a pair, for graphs that take it.
        """
        ...
