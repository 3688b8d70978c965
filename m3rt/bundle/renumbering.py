"""The ids of a pruned vocabulary beside those of the whole one.

Outside its graph and its tokenizer.json a pruned bundle speaks the ids of the whole vocabulary, so that its lexical
weights are comparable with those of the bundle that lost nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..host.files import read_bytes
from . import Bundle
from .fields import SpecialTokens
from .manifest import ORIGINAL_IDS

DTYPE = np.dtype("<i4")


class Renumbering:
    """Translates ids of the bundle to those of the whole vocabulary and back.

    original: (pieces,) int32, the whole vocabulary's id of each piece, ascending. size: of the whole vocabulary.
    Raises BundleError for ids that are not such, or that move a special token.
    """

    def __init__(self, original: NDArray[np.int32], size: int, special: SpecialTokens) -> None:
        kept = original[: max(special.unused) + 1]
        if np.any(np.diff(original) <= 0) or original[-1] >= size or not np.array_equal(kept, np.arange(len(kept))):
            raise BundleError(f"{ORIGINAL_IDS} has no ascending ids from 0 to {size - 1}; export the bundle again")
        self._original = original
        self._own = np.full(size, special.unk, np.int64)
        self._own[original] = np.arange(len(original))

    def original(self, own: NDArray[Any]) -> NDArray[np.int32]:
        """The whole vocabulary's ids of ids of the bundle, any shape."""
        found: NDArray[np.int32] = self._original[own]
        return found

    def own(self, original: NDArray[Any]) -> NDArray[np.int64]:
        """The bundle's ids of ids of the whole vocabulary, any shape; <unk> for a piece that it lost."""
        found: NDArray[np.int64] = self._own[original]
        return found


def renumbering(bundle: Bundle) -> Renumbering | None:
    """Read the ids of a pruned bundle; None where the vocabulary is whole. Raises BundleError."""
    m = bundle.manifest
    if m.pruned is None:
        return None
    path, expected = bundle.file(ORIGINAL_IDS), m.pruned.pieces * DTYPE.itemsize
    try:
        data = read_bytes(path, expected)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) != expected:
        raise BundleError(f"{path} has {len(data)} bytes, expected {expected}; export the bundle again")
    return Renumbering(np.frombuffer(data, DTYPE), m.architecture.vocab_size, m.special_tokens)
