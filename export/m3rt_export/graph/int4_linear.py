"""Linear maps in int4: weights of 4 bits in blocks, activations in int8 by block, in onnxruntime's own operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .builder import GraphBuilder
from .int8_linear import Int8Linear
from .linear import UNKNOWN, Activation, Array, Dense, Role, Rows
from .quantize_blocks import Blocks, packed_pairs, quantize_blocks

# Weights with one scale; the role that is not here has 8 bits (benchmarks/LOG.md).
_BLOCKS = {Role.SCORES: 128, Role.FFN_OUT: 64, Role.OTHER: 32}
LEAST_WIDTH = 768  # of a model whose maps have 4 bits: a narrower one has most of its bytes in the rows of its table
_ALPHA = 0.25  # of AWQ's factors: the power of a channel's root mean square
_INT8_ACTIVATIONS = 4  # the operator's name for them: it rounds each block of a row by that block alone


class Int4Linear:
    """4-bit weights with a scale and a zero for each block; hidden states stay float32 between the maps.

    Attention's values and its output map, a sixth of the weights and over a third of the error, keep 8 bits, and so do
    all maps of narrow models, which lose more by 4 bits and save little. The channels of the others are scaled so that
    large inputs meet finer weights (AWQ, arXiv:2306.00978).
    A text's result does not depend on its batch, since activations are rounded by row, or by blocks of one row.
    """

    dtype = np.dtype(np.float32)
    _eight_bits = Int8Linear()

    def project(self, g: GraphBuilder, x: Rows, maps: Sequence[Dense], activation: Activation = UNKNOWN) -> list[str]:
        results = dict.fromkeys(range(len(maps)), "")
        roles = [_role_in_blocks(dense) for dense in maps]
        for role in dict.fromkeys(roles):
            places = [i for i, r in enumerate(roles) if r is role]
            write = self._blocks if role else self._eight_bits.project
            results |= zip(places, write(g, x, [maps[i] for i in places], activation), strict=True)
        return [*results.values()]

    def _blocks(self, g: GraphBuilder, x: Rows, maps: Sequence[Dense], activation: Activation) -> list[str]:
        """Round maps of one role, which read the same moments, as one."""
        block, moments = _BLOCKS[maps[0].role], activation.moments
        weights = np.concatenate([dense.weight for dense in maps])
        if moments is not None:
            factors = _factors(moments)
            x = x._replace(value=g.op("Mul", x.value, g.weight(1 / factors)))
            weights, moments = weights * factors, moments / factors[:, None] / factors
        ends = np.cumsum([len(dense.weight) for dense in maps])[:-1]
        parts = zip(*(np.split(array, ends) for array in quantize_blocks(weights, block, moments)), strict=True)
        return [self._map(g, x, dense, Blocks(*part)) for dense, part in zip(maps, parts, strict=True)]

    def _map(self, g: GraphBuilder, x: Rows, dense: Dense, blocks: Blocks) -> str:
        n, k = dense.weight.shape
        product = g.op(
            "MatMulNBits",
            x.value,
            g.weight(packed_pairs(blocks.codes)),
            g.cast(g.weight(blocks.scales.reshape(-1)), np.float32),  # folded into a constant at load
            g.weight(packed_pairs(blocks.zeros).reshape(-1)),
            K=k,
            N=n,
            bits=4,
            block_size=_BLOCKS[dense.role],
            accuracy_level=_INT8_ACTIVATIONS,
        )
        return product if dense.bias is None else g.op("Add", product, g.weight(dense.bias))


def _role_in_blocks(dense: Dense) -> Role | None:
    """The role of a map that gets 4 bits; None for one that keeps 8."""
    return dense.role if dense.role in _BLOCKS and min(dense.weight.shape) >= LEAST_WIDTH else None


def _factors(moments: Array) -> Array:
    """What the weights of each channel are multiplied by, with geometric mean 1; its inputs are divided by it."""
    powers = np.maximum(np.diag(moments), np.float32(1e-10)) ** np.float32(_ALPHA / 2)
    return np.asarray(powers / np.exp(np.log(powers).mean()), np.float32)
