"""The result of encode(): up to three views of each text, its number of tokens, and whether it was cut off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .values.shown import shown

VIEWS = ("dense", "sparse", "colbert")
# The weight of each view in a fusion of scores, as the paper has them for MIRACL (arXiv:2402.03216, section 4.1).
WEIGHTS: Mapping[str, float] = {"dense": 1.0, "sparse": 0.3, "colbert": 1.0}

_KEYS = ("dense_vecs", "sparse", "lexical_weights", "colbert_vecs", "n_tokens", "truncated")


@dataclass(frozen=True, slots=True, eq=False)
class SparseVectors:
    """Lexical weights as CSR rows: indptr (n + 1,) int64, indices int32 sorted per row, values float32."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        _check_arrays(self, indptr=1, indices=1, values=1)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return views of the token ids and weights of text i."""
        items = slice(self.indptr[i], self.indptr[i + 1])
        return self.indices[items], self.values[items]

    def part(self, rows: slice) -> SparseVectors:
        """Return the texts of a slice without a step, counted from its first one; indices and values are views."""
        indptr, items = _window(self.indptr, rows)
        return SparseVectors(indptr, self.indices[items], self.values[items])


@dataclass(frozen=True, slots=True, eq=False)
class MultiVectors:
    """ColBERT vectors, ragged: vectors (total, dim) float32, text i owns rows offsets[i]:offsets[i + 1].

    With scales (total,) float32, vectors are int8 codes: a code times the scale of its row is a component.
    """

    vectors: NDArray[Any]
    offsets: NDArray[np.int64]
    scales: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check_arrays(self, vectors=2, offsets=1, **({} if self.scales is None else {"scales": 1}))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, i: int) -> NDArray[Any]:
        """Return a view of the vectors of text i, (tokens_i - 1, dim)."""
        return self.vectors[self.offsets[i] : self.offsets[i + 1]]

    def restored(self) -> MultiVectors:
        """Return the same vectors in float32, fresh where they are codes."""
        if self.scales is None:
            return self
        return MultiVectors(self.vectors.astype(np.float32) * self.scales[:, None], self.offsets)

    def part(self, rows: slice) -> MultiVectors:
        """Return the texts of a slice without a step, counted from its first one; vectors is a view."""
        offsets, items = _window(self.offsets, rows)
        return MultiVectors(self.vectors[items], offsets, None if self.scales is None else self.scales[items])


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The outputs for n texts, in input order; a view that was not requested is None.

    dense_vecs: (n, dim) float32 with unit rows, or the codes that dense_precision asked for. sparse: SparseVectors.
    multi: MultiVectors, the ColBERT vectors. n_tokens: (n,) int64 after truncation. truncated: (n,) bool.
    `out["dense_vecs"]` and dict(out) work too; len(out) is the number of texts.
    """

    dense_vecs: NDArray[Any] | None
    sparse: SparseVectors | None
    multi: MultiVectors | None
    n_tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    def __post_init__(self) -> None:
        _check_arrays(self, n_tokens=1, truncated=1, **({} if self.dense_vecs is None else {"dense_vecs": 2}))
        for name, view, kind in (("sparse", self.sparse, SparseVectors), ("multi", self.multi, MultiVectors)):
            if view is not None and not isinstance(view, kind):
                raise InputError(f"{name} is {shown(view)}, expected {kind.__name__} or None")

    def __len__(self) -> int:
        return len(self.n_tokens)

    @property
    def lexical_weights(self) -> list[dict[int, float]] | None:
        """Make one {token id: weight} for each text."""
        if self.sparse is None:
            return None
        rows = map(self.sparse.row, range(len(self)))
        return [dict(zip(ids.tolist(), values.tolist(), strict=True)) for ids, values in rows]

    @property
    def colbert_vecs(self) -> list[NDArray[Any]] | None:
        """Return one (tokens_i - 1, dim) view for each text, all into one flat array: `multi.vectors`."""
        return None if self.multi is None else [self.multi.row(i) for i in range(len(self))]

    def keys(self) -> tuple[str, ...]:
        return _KEYS

    def __getitem__(self, key: str) -> Any:
        if not isinstance(key, str) or key not in _KEYS:
            raise KeyError(f"{shown(key)}, expected one of {', '.join(_KEYS)}")
        return getattr(self, key)


def _window(offsets: NDArray[np.int64], rows: slice) -> tuple[NDArray[np.int64], slice]:
    """Return the offsets of a slice of rows, from 0, and the items of these rows."""
    start, stop, _ = rows.indices(len(offsets) - 1)
    bounds = np.asarray(offsets[start : max(start, stop) + 1], np.int64)
    return bounds - bounds[0], slice(int(bounds[0]), int(bounds[-1]))


def _check_arrays(owner: object, **dimensions: int) -> None:
    """Raise InputError for a field that is no array of numbers with the dimensions named for it."""
    for name, ndim in dimensions.items():
        array = getattr(owner, name)
        if not isinstance(array, np.ndarray) or array.ndim != ndim or array.dtype.kind not in "fiub":
            raise InputError(f"{name} is {shown(array)}, expected an array of numbers with {ndim} dimension(s)")
