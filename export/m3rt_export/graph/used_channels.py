"""The channels of a layer that its result depends on: the others have weights of 0, and the graphs leave them out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .attention import AttentionShape
from .linear import Dense

Mask = NDArray[np.bool_]


class UsedChannels(NamedTuple):
    """The channels to keep: of queries and keys (hidden,), of values (hidden,), of the FFN's inner map (ffn,)."""

    shape: AttentionShape
    keys: Mask
    values: Mask
    inner: Mask


def used_channels(query: Dense, key: Dense, out: Dense, ffn_out: Dense, heads: int) -> UsedChannels:
    """Find the heads and channels of a layer that its weights use; at least one of each is kept.

    A head or an inner channel whose output weights are 0 adds nothing. Where a query or a key is always 0, so is their
    product. All heads keep the same width: a channel of keys is left out only if no head uses it.
    """
    assert query.bias is not None
    used_heads = _at_least_one(np.any(out.weight, axis=0).reshape(heads, -1).any(axis=1))
    queried = query.weight.any(axis=1) | (query.bias != 0)
    used_keys = _at_least_one((queried & key.weight.any(axis=1)).reshape(heads, -1)[used_heads].any(axis=0))
    width = len(used_keys)
    return UsedChannels(
        shape=AttentionShape(int(used_heads.sum()), int(used_keys.sum()), width),
        keys=np.outer(used_heads, used_keys).reshape(-1),
        values=np.repeat(used_heads, width),
        inner=_at_least_one(np.any(ffn_out.weight, axis=0)),
    )


def keep_outputs(dense: Dense, kept: Mask) -> Dense:
    """The map to the kept outputs only."""
    if kept.all():
        return dense
    return dense._replace(weight=dense.weight[kept], bias=None if dense.bias is None else dense.bias[kept])


def keep_inputs(dense: Dense, kept: Mask) -> Dense:
    """The map from the kept inputs only."""
    return dense if kept.all() else dense._replace(weight=np.ascontiguousarray(dense.weight[:, kept]))


def _at_least_one(used: Mask) -> Mask:
    used[0] |= not used.any()
    return used
