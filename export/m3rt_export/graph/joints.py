"""What stands between the maps of a layer: the activation, and the residual with its LayerNorm."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .builder import GraphBuilder
from .linear import Activation, Dense, Linear, Rows


class Norm(NamedTuple):
    """A LayerNorm's gain and bias, (hidden,) each, and the number that its variance is kept above."""

    gain: NDArray[np.float32]
    bias: NDArray[np.float32]
    epsilon: float


class Joints(Protocol):
    """Writes a map together with the operators that follow it."""

    def gelu(self, g: GraphBuilder, linear: Linear, x: Rows, dense: Dense, activation: Activation) -> str:
        """GELU of the map of x, in its exact form."""
        ...

    def residual(
        self, g: GraphBuilder, linear: Linear, kept: str, x: Rows, dense: Dense, activation: Activation, norm: Norm
    ) -> str:
        """LayerNorm of the sum of `kept` (rows, hidden) and the map of x."""
        ...


class SeparateJoints:
    """Standard operators, one after another."""

    def gelu(self, g: GraphBuilder, linear: Linear, x: Rows, dense: Dense, activation: Activation) -> str:
        (inner,) = linear.project(g, x, (dense,), activation)
        return g.op("Gelu", inner)

    def residual(
        self, g: GraphBuilder, linear: Linear, kept: str, x: Rows, dense: Dense, activation: Activation, norm: Norm
    ) -> str:
        (out,) = linear.project(g, x, (dense,), activation)
        return normalised(g, linear, g.op("Add", kept, out), norm)


class FusedJoints:
    """onnxruntime's fused operators, which add the map's bias too: on a GPU each pass over memory counts.

    SkipLayerNormalization adds and normalises in float32 where the session asks for its strict mode.
    """

    def gelu(self, g: GraphBuilder, linear: Linear, x: Rows, dense: Dense, activation: Activation) -> str:
        assert dense.bias is not None
        (inner,) = linear.project(g, x, (dense._replace(bias=None),), activation)
        return g.op("BiasGelu", inner, g.weight(dense.bias, linear.dtype))

    def residual(
        self, g: GraphBuilder, linear: Linear, kept: str, x: Rows, dense: Dense, activation: Activation, norm: Norm
    ) -> str:
        assert dense.bias is not None
        (out,) = linear.project(g, x, (dense._replace(bias=None),), activation)
        gain, bias, map_bias = (g.weight(array, linear.dtype) for array in (norm.gain, norm.bias, dense.bias))
        return g.op("SkipLayerNormalization", out, kept, gain, bias, map_bias, epsilon=norm.epsilon)


def normalised(g: GraphBuilder, linear: Linear, x: str, norm: Norm) -> str:
    """LayerNorm of x (rows, hidden)."""
    gain, bias = g.weight(norm.gain, linear.dtype), g.weight(norm.bias, linear.dtype)
    return g.op("LayerNormalization", x, gain, bias, epsilon=norm.epsilon, axis=-1)
