"""Rows of PostgreSQL: what it cannot hold is refused, and vectors are written as text."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...values.arguments import whole_number
from ...values.counts import counted
from ...values.shown import shown
from .documents import Documents, heaviest

MAX_NNZ = 1000  # weights of a row that an HNSW index takes

_NUL_IN_JSON = re.compile(r"(?<!\\)(\\\\)*\\u0000")
_MAX_ID_BYTES = 2_600  # a key of an index has at most 2,704 bytes


def text_rows(found: Documents, vocabulary: int, max_nnz: int) -> Iterator[dict[str, Any]]:
    found = checked(found, max_nnz)
    metadata = metadata_json(found)
    return (_row(found, i, vocabulary, metadata) for i in range(len(found)))


def checked(found: Documents, max_nnz: int) -> Documents:
    """The documents with at most max_nnz weights each. Raises InputError for what PostgreSQL cannot hold."""
    for values in (found.ids, found.texts or []):
        for name, value in zip(found.ids, values, strict=False):
            if "\0" in value:
                raise InputError(f"id or text of {shown(name)} holds a NUL, which PostgreSQL cannot hold; remove it")
    for name in found.ids:
        if len(name.encode()) > _MAX_ID_BYTES:
            raise InputError(f"id {shown(name)} has {len(name.encode())} bytes, expected at most {_MAX_ID_BYTES:,}")
    if found.embeddings.sparse is not None:
        sparse, cut = heaviest(found.embeddings.sparse, whole_number("max_nnz", max_nnz, 1, 16_000))
        if cut.any():
            warnings.warn(
                f"over {max_nnz} lexical weights in {counted(int(np.count_nonzero(cut)), 'text')}; "
                f"the {cut.sum()} smallest were cut",
                stacklevel=3,
            )
        found = replace(found, embeddings=replace(found.embeddings, sparse=sparse))
    return found


def metadata_json(found: Documents) -> list[str] | None:
    """The metadata as JSON. Raises InputError for a NUL in it."""
    if found.metadata is None:
        return None
    rows = [json.dumps(dict(row or {}), ensure_ascii=False) for row in found.metadata]
    for name, row in zip(found.ids, rows, strict=True):
        if _NUL_IN_JSON.search(row):
            raise InputError(f"the metadata of {shown(name)} holds a NUL, which PostgreSQL cannot hold; remove it")
    return rows


def _row(found: Documents, i: int, vocabulary: int, metadata: Sequence[str] | None) -> dict[str, Any]:
    row, out = found.payload(i), found.embeddings
    if metadata is not None:
        row["metadata"] = metadata[i]
    if out.dense_vecs is not None:
        row["dense"] = _vector(out.dense_vecs[i])
    if (sparse := found.sparse(i)) is not None:
        row["sparse"] = f"{{{','.join(f'{token + 1}:{weight:.9g}' for token, weight in sparse.items())}}}/{vocabulary}"
    if out.multi is not None:
        row["colbert"] = "{" + ",".join(f'"{_vector(vector)}"' for vector in out.multi.row(i)) + "}"
    return row


def _vector(values: NDArray[np.float32]) -> str:
    return "[" + ",".join(f"{value:.9g}" for value in values.tolist()) + "]"
