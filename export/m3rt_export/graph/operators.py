"""The choices that a precision and an engine make in a graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .attention import Attend
from .builder import GraphBuilder
from .joints import Joints, SeparateJoints
from .linear import FloatLinear, Linear
from .lookup import Lookup, float_lookup

Leave = Callable[[GraphBuilder, str, int], str]  # takes x (rows, width) and its width, returns the same values


class Operators(NamedTuple):
    """How look-ups, linear maps and attention are written, and how a value leaves the encoder.

    joints: what stands between the maps. packed: hidden states have no rows for padding.
    """

    lookup: Lookup
    linear: Linear
    attend: Attend
    leave: Leave
    joints: Joints = SeparateJoints()
    packed: bool = False


def leave_directly(g: GraphBuilder, x: str, width: int) -> str:
    """Pass x on as it is."""
    return x


def float_operators(dtype: Any, attend: Attend) -> Operators:
    """The operators of a float precision."""
    return Operators(float_lookup(dtype), FloatLinear(dtype), attend, leave_directly)


def leave_through_identity(g: GraphBuilder, x: str, width: int) -> str:
    """Multiply x by the identity, for OpenVINO: it keeps bf16 before that product.

    Where bf16 is allowed, OpenVINO keeps float32 from each output back to the nearest matrix products. Along residuals
    and row scales that is half of the encoder, with conversions between; this product ends it.
    """
    block = math.gcd(width, 64)
    parts = g.op("Reshape", x, g.constant([-1, block], np.int64))
    product = g.op("MatMul", parts, g.constant(np.eye(block), np.float32))
    return g.op("Reshape", product, g.constant([-1, width], np.int64))
