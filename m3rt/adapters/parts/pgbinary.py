"""pgvector's types as PostgreSQL's binary parameters, which neither side writes or reads as text.

Formats: vector_recv and sparsevec_recv of pgvector, array_recv of PostgreSQL; all numbers are big-endian.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Vector(bytes):
    """A vector: int16 dimension, int16 unused, float32 components."""


class SparseVector(bytes):
    """A sparsevec: int32 dimension, non-zeros, unused, then int32 indices from 0, rising, and float32 weights."""


class VectorArray(bytes):
    """A vector[]: int32 number of dimensions, nulls, type of the elements, length, first index, then the elements."""


_TYPES: dict[type, str] = {Vector: "vector", SparseVector: "sparsevec", VectorArray: "vector[]"}


def register(connection: Any) -> int:
    """Let the connection send the classes above; returns the oid of vector. The extension must be there."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    names = list(_TYPES.values())
    found = connection.execute("select name::regtype::oid::int from unnest(%s::text[]) as name", [names]).fetchall()
    for kind, (oid,) in zip(_TYPES, found, strict=True):
        as_it_is = {"format": Format.BINARY, "oid": oid, "dump": lambda self, value: value}
        connection.adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (Dumper,), as_it_is))
    return int(found[0][0])


def vectors(rows: NDArray[np.float32]) -> list[Vector]:
    """A vector of each row, (n, d)."""
    head = pack(">hh", rows.shape[1], 0)
    return [Vector(head + row.tobytes()) for row in rows.astype(">f4")]


def sparse_vector(tokens: NDArray[np.int32], weights: NDArray[np.float32], width: int) -> SparseVector:
    """A row of lexical weights, which are not 0. tokens: rising."""
    head = pack(">iii", width, len(tokens), 0)
    return SparseVector(head + tokens.astype(">i4").tobytes() + weights.astype(">f4").tobytes())


def vector_array(rows: NDArray[np.float32], element: int) -> VectorArray:
    """An array of the rows, (t, d). element: the oid of the type vector."""
    if not len(rows):
        return VectorArray(pack(">iii", 0, 0, element))
    head = pack(">iiiii", 1, 0, element, len(rows), 1)
    return VectorArray(head + b"".join(pack(">i", len(vector)) + vector for vector in vectors(rows)))
