"""Which parts of a layer make a difference: the others, whose weights are 0, are left out of the graphs, exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .attention import Heads
from .linear import Dense

Mask = NDArray[np.bool_]


class Parts(NamedTuple):
    """What a layer keeps: channels of queries and keys (hidden,), of values (hidden,), of the inner map (ffn,)."""

    heads: Heads
    keys: Mask
    values: Mask
    inner: Mask


def used_parts(query: Dense, key: Dense, out: Dense, ffn_out: Dense, heads: int) -> Parts:
    """What of a layer's `heads` and channels its weights use; one of each is kept at least.

    A head whose output weights are 0 adds nothing, nor does such an inner channel; where a query or a key is always 0,
    so is their product. Heads stay alike: a channel of keys goes only if no head uses it.
    """
    assert query.bias is not None
    live = _some(np.any(out.weight, axis=0).reshape(heads, -1).any(axis=1))
    asked = query.weight.any(axis=1) | (query.bias != 0)
    channels = _some((asked & key.weight.any(axis=1)).reshape(heads, -1)[live].any(axis=0))
    width = len(channels)
    return Parts(
        heads=Heads(int(live.sum()), int(channels.sum()), width),
        keys=np.outer(live, channels).reshape(-1),
        values=np.repeat(live, width),
        inner=_some(np.any(ffn_out.weight, axis=0)),
    )


def rows(dense: Dense, kept: Mask) -> Dense:
    """The map to the kept outputs only."""
    if kept.all():
        return dense
    return Dense(dense.weight[kept], None if dense.bias is None else dense.bias[kept])


def columns(dense: Dense, kept: Mask) -> Dense:
    """The map from the kept inputs only."""
    return dense if kept.all() else dense._replace(weight=np.ascontiguousarray(dense.weight[:, kept]))


def _some(used: Mask) -> Mask:
    used[0] |= not used.any()
    return used
