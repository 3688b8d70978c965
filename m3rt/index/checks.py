"""Check arguments of an index: embeddings must fit what it stores, and its manifest must be able to hold a note."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embeddings, SparseVectors
from ..errors import InputError
from ..values.counts import counted
from ..values.shown import a_kind, shown
from .store.manifest import Settings

_ROWS_AT_A_TIME = 1024  # rows checked for finite numbers at a time
_MAX_TOKEN_ID = (1 << 31) - 1


def check_embeddings(out: Embeddings, n: int, settings: Settings) -> None:
    """Raise InputError unless `out` has n rows of every view that the index stores, with its widths, all finite."""
    if not isinstance(out, Embeddings):
        raise InputError(f"embeddings is {a_kind(out)}, expected the Embeddings that encode() returns")
    if len(out) != n:
        raise InputError(f"embeddings hold {counted(len(out), 'text')} for {counted(n, 'id')}, expected as many")
    given = {"dense": out.dense_vecs, "sparse": out.sparse, "colbert": out.multi}
    for view, value in given.items():
        if getattr(settings, view) and value is None:
            raise InputError(f"embeddings hold no {view} output, which the index stores; encode with it")
    if settings.dense and out.dense_vecs is not None:
        _check_vectors("dense", out.dense_vecs, n, settings.dense_dim)
    if settings.sparse and out.sparse is not None:
        _check_sparse(out.sparse, n)
    if settings.colbert and out.multi is not None:
        _check_offsets("ColBERT offsets", out.multi.offsets, n, len(out.multi.vectors))
        _check_vectors("ColBERT", out.multi.vectors, len(out.multi.vectors), settings.colbert_dim)


def check_note(note: object) -> None:
    """Raise InputError unless `note` is None or an object that is the same after a round trip through JSON."""
    try:
        if note is None or (isinstance(note, Mapping) and json.loads(_line(note)) == note):
            return
    except Exception:  # a mapping of another package may raise anything
        pass
    raise InputError(f"note is {shown(note)}, expected an object that JSON can hold, such as {{'done': 7}}")


def _line(note: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(note), ensure_ascii=False, allow_nan=False).encode()


def _check_sparse(sparse: SparseVectors, n: int) -> None:
    _check_offsets("sparse indptr", sparse.indptr, n, len(sparse.indices))
    if len(sparse.indices) != len(sparse.values) or not is_finite(sparse.values) or not (sparse.values >= 0).all():
        raise InputError("lexical weights must be float32 numbers, finite and >= 0, one for each token id")
    rises = np.ones(len(sparse.indices) + 1, np.bool_)
    rises[1:-1] = sparse.indices[1:] > sparse.indices[:-1]
    rises[sparse.indptr] = True
    if not rises.all() or not are_token_ids(sparse.indices):
        raise InputError(f"token ids of lexical weights must be 0 to {_MAX_TOKEN_ID}, sorted and distinct in each row")


def _check_vectors(name: str, vectors: NDArray[Any], rows: int, dim: int) -> None:
    if vectors.dtype.kind != "f":
        raise InputError(f"{name} vectors are {vectors.dtype}, expected float32: encode without a precision of theirs")
    if vectors.shape != (rows, dim):
        raise InputError(f"{name} vectors have shape {vectors.shape}, expected {(rows, dim)}")
    for i in range(0, rows, _ROWS_AT_A_TIME):
        if not is_finite(vectors[i : i + _ROWS_AT_A_TIME]):
            raise InputError(
                f"{name} vectors {i} to {min(i + _ROWS_AT_A_TIME, rows) - 1} are not all finite; nothing was added"
            )


def is_finite(values: NDArray[Any]) -> bool:
    """Whether numbers are finite as float32, which an index stores: larger ones of other dtypes become infinite."""
    with np.errstate(over="ignore"):
        return values.dtype.kind in "fiu" and bool(np.isfinite(np.asarray(values, np.float32)).all())


def are_token_ids(ids: NDArray[Any]) -> bool:
    """Whether ids are whole numbers that int32 holds: larger ones would be stored as other tokens."""
    return ids.dtype.kind in "iu" and (not len(ids) or bool(ids.min() >= 0 and ids.max() <= _MAX_TOKEN_ID))


def _check_offsets(name: str, offsets: NDArray[Any], n: int, total: int) -> None:
    if offsets.shape != (n + 1,) or offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
        raise InputError(f"{name} must be {n + 1} numbers that rise from 0 to {total}")
