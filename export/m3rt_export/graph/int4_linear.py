"""Linear maps in int4: weights of 4 bits in blocks, activations in int8 by block, in onnxruntime's own operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .builder import GraphBuilder
from .linear import UNKNOWN, Activation, Dense, Rows
from .quantize_blocks import Blocks, packed_pairs, quantize_blocks

_BLOCK = 32  # weights with one scale (benchmarks/LOG.md)
_INT8_ACTIVATIONS = 4  # the operator's name for them: it rounds each block of a row by that block alone


class Int4Linear:
    """4-bit weights with a scale and a zero for each block; hidden states stay float32 between the maps.

    A text's result does not depend on its batch, since activations are rounded by blocks of one row.
    """

    dtype = np.dtype(np.float32)

    def project(self, g: GraphBuilder, x: Rows, maps: Sequence[Dense], activation: Activation = UNKNOWN) -> list[str]:
        weights = [dense.weight for dense in maps]
        blocks = quantize_blocks(np.concatenate(weights), _BLOCK, activation.moments)  # they read the same moments
        ends = np.cumsum([len(weight) for weight in weights])[:-1]
        parts = zip(*(np.split(array, ends) for array in blocks), strict=True)
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
            block_size=_BLOCK,
            accuracy_level=_INT8_ACTIVATIONS,
        )
        return product if dense.bias is None else g.op("Add", product, g.weight(dense.bias))
