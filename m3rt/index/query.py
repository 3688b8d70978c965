"""A query: one text's embeddings, checked against what an index stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embeddings
from ..errors import InputError
from .lexical import Terms
from .manifest import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """dense (dim,) float32, terms (sorted ids, weights), colbert (tokens, dim) float32; None where there is none."""

    dense: NDArray[np.float32] | None
    sparse: Terms | None
    colbert: NDArray[np.float32] | None

    @classmethod
    def of(cls, out: Embeddings, i: int) -> Query:
        """Text i of `out`, as contiguous float32. Raises InputError when it is not finite."""
        dense = None if out.dense_vecs is None else _floats("dense vector", i, out.dense_vecs[i])
        colbert = None if out.multi is None else _floats("ColBERT vectors", i, out.multi.row(i))
        sparse = None
        if out.sparse is not None:
            ids, weights = out.sparse.row(i)
            sparse = (np.ascontiguousarray(ids, np.int32), _floats("lexical weights", i, weights))
            if (sparse[0][1:] <= sparse[0][:-1]).any() or (sparse[1] < 0).any():
                raise InputError(f"the lexical weights of query {i} need sorted, distinct ids and weights >= 0")
        return cls(dense, sparse, colbert)

    def check(self, view: str, settings: Settings) -> None:
        """Raise InputError unless query and index both have `view`, of one width."""
        if not getattr(settings, view):
            stored = [name for name in ("dense", "sparse", "colbert") if getattr(settings, name)]
            raise InputError(f"the index stores no {view} vectors, only {', '.join(stored)}; use one of those")
        vectors: Any = getattr(self, view)
        if vectors is None:
            raise InputError(
                f"the query has no {view} output, which this search needs; encode it with return_{_HEAD[view]}"
            )
        width = {"dense": settings.dense_dim, "colbert": settings.colbert_dim}.get(view)
        if width and vectors.shape[-1] != width:
            raise InputError(f"the query's {view} vectors have {vectors.shape[-1]} components, expected {width}")


_HEAD = {"dense": "dense", "sparse": "sparse", "colbert": "colbert_vecs"}


def _floats(name: str, i: int, values: NDArray[Any]) -> NDArray[np.float32]:
    found = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(found).all():
        raise InputError(f"the {name} of query {i} are not finite")
    return found
