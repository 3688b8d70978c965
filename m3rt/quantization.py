"""Dense vectors of fewer bits, by the names and definitions of sentence-transformers' quantize_embeddings.

These codes are for databases and files. An index of m3rt stores vectors in precisions of its own, which
m3rt.index.store.precisions names: their int8 has a scale for each vector, as ColBERT's int8 vectors have here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .values.arguments import choice_of
from .values.floats import numbers

DENSE_PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
COLBERT_PRECISIONS = ("float32", "int8")
_STEPS = 255  # of a range
_DEVIATIONS = 8  # that the default range spans on each side: fewer clip, more cost resolution
_ROWS_AT_A_TIME = 1 << 14

Codes = NDArray[Any]
Ranges = NDArray[np.float32]  # (2, dim): the least and the greatest value of each component


def default_ranges(dim: int) -> Ranges:
    """The range of int8 and uint8 where none is known: (2, dim) float32, -8 / sqrt(dim) to 8 / sqrt(dim), at most 1.

    The components of a unit vector have the standard deviation 1 / sqrt(dim) around 0, whatever the model. A fixed
    range makes the code of a text depend on that text alone, never on the others of its batch or file.
    """
    edge = min(1.0, _DEVIATIONS / np.sqrt(dim))
    return np.repeat(np.array([[-edge], [edge]], np.float32), dim, axis=1)


def calibrated_ranges(calibration_embeddings: NDArray[np.float32]) -> Ranges:
    """The range of each component over vectors (n, dim) of texts like those to come: (2, dim) float32."""
    wanted = "a matrix of finite numbers with a row for each text"
    vectors = numbers("calibration_embeddings", calibration_embeddings, 2, wanted, np.float32)
    if not len(vectors):
        raise InputError(f"calibration_embeddings has no rows, expected {wanted}")
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def quantize_embeddings(
    embeddings: NDArray[np.float32],
    precision: str,
    ranges: NDArray[np.float32] | None = None,
    calibration_embeddings: NDArray[np.float32] | None = None,
) -> Codes:
    """Turn vectors (n, dim) float32 into fresh codes of `precision`.

    int8, uint8 (n, dim): the number of the step, of the 255 that cut the range of its component; int8 is 128 less.
    ubinary (n, dim / 8) uint8: a bit for each component, set above 0, the first in the highest; binary is 128 less.
    ranges (2, dim): the least and greatest value of each component; by default those of calibration_embeddings, else
    default_ranges(), which is for unit vectors. Only this default differs from sentence-transformers, which takes the
    ranges of the very vectors. Raises InputError.
    """
    choice_of("precision", precision, DENSE_PRECISIONS)
    vectors = numbers("embeddings", embeddings, 2, "a matrix of finite numbers with a row for each text", np.float32)
    if ranges is None and calibration_embeddings is not None:
        ranges = calibrated_ranges(calibration_embeddings)
    return _ENCODERS[precision](vectors, checked_ranges(ranges, vectors.shape[1]))


def checked_ranges(ranges: object, dim: int) -> Ranges:
    """Ranges as they must be for vectors of `dim` components; the default ones for None. Raises InputError."""
    if ranges is None:
        return default_ranges(dim)
    wanted = f"the least and greatest values of {dim} components, an array of shape (2, {dim})"
    array = numbers("ranges", ranges, 2, wanted, np.float32)
    if array.shape != (2, dim):
        raise InputError(f"ranges has shape {array.shape}, expected {wanted}")
    if (array[0] > array[1]).any():
        raise InputError(f"ranges has a least value above the greatest, expected {wanted}")
    return array


def dense_scores(
    queries: NDArray[np.float32], codes: Codes, precision: str, ranges: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Multiply queries (nq, dim) float32 with what codes (n, ...) of `precision` stand for: fresh (nq, n) float32.

    A step stands for its middle and a bit for 1 / sqrt(dim) or -1 / sqrt(dim). Queries keep their precision: they cost
    nothing to store, and cut to codes they would rank worse. Raises InputError for arguments that do not fit.
    """
    choice_of("precision", precision, DENSE_PRECISIONS)
    wide = numbers("queries", queries, 2, "a matrix of finite numbers with a row for each query", np.float32)
    dim = wide.shape[1]
    width, dtype = (-(-dim // 8) if precision.endswith("binary") else dim), _DTYPES[precision]
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.shape[1] != width or codes.dtype != dtype:
        raise InputError(f"codes do not fit queries of {dim} components: expected {precision} of shape (n, {width})")
    checked = checked_ranges(ranges, dim)
    scores = np.empty((len(wide), len(codes)), np.float32)
    for i in range(0, len(codes), _ROWS_AT_A_TIME):
        block = slice(i, i + _ROWS_AT_A_TIME)
        scores[:, block] = wide @ _DECODERS[precision](codes[block], checked).T
    return scores


def hamming(queries: Codes, codes: Codes) -> NDArray[np.int32]:
    """Count the bits in which binary or ubinary codes (nq, bytes) and (n, bytes) differ: fresh (nq, n) int32.

    Raises InputError for codes of other shapes or types.
    """
    for name, array in (("queries", queries), ("codes", codes)):
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype not in (np.int8, np.uint8):
            raise InputError(f"{name} are no codes, expected binary or ubinary ones of shape (n, bytes)")
    if queries.shape[1] != codes.shape[1] or queries.dtype != codes.dtype:
        raise InputError("queries and codes differ in width or type, expected both of one precision and one model")
    counts = np.empty((len(queries), len(codes)), np.int32)
    for i, query in enumerate(queries.view(np.uint8)):
        counts[i] = np.bitwise_count(codes.view(np.uint8) ^ query).sum(axis=1)
    return counts


def _steps(vectors: NDArray[np.float32], ranges: Ranges) -> NDArray[np.float32]:
    found = np.empty(vectors.shape, np.float32)
    for i in range(0, len(vectors), _ROWS_AT_A_TIME):
        block = vectors[i : i + _ROWS_AT_A_TIME]
        found[i : i + _ROWS_AT_A_TIME] = np.clip(np.floor((block - ranges[0]) / _width(ranges)), 0, _STEPS)
    return found


def _width(ranges: Ranges) -> NDArray[np.float32]:
    width: NDArray[np.float32] = (ranges[1] - ranges[0]) / np.float32(_STEPS)
    width[width == 0] = 1
    return width


def _middles(steps: NDArray[np.float32], ranges: Ranges) -> NDArray[np.float32]:
    middles: NDArray[np.float32] = ranges[0] + (steps + np.float32(0.5)) * _width(ranges)
    return middles


def _signs(bits: NDArray[np.uint8], ranges: Ranges) -> NDArray[np.float32]:
    dim = ranges.shape[1]
    signs: NDArray[np.float32] = np.unpackbits(bits, axis=1, count=dim).astype(np.float32) * 2 - 1
    signs /= np.float32(np.sqrt(dim))
    return signs


_DTYPES = {"float32": np.float32, "int8": np.int8, "uint8": np.uint8, "binary": np.int8, "ubinary": np.uint8}
_ENCODERS: Mapping[str, Callable[[NDArray[np.float32], Ranges], Codes]] = {
    "float32": lambda vectors, ranges: vectors.copy(),
    "int8": lambda vectors, ranges: (_steps(vectors, ranges) - 128).astype(np.int8),
    "uint8": lambda vectors, ranges: _steps(vectors, ranges).astype(np.uint8),
    "binary": lambda vectors, ranges: (np.packbits(vectors > 0, axis=1) ^ np.uint8(128)).view(np.int8),
    "ubinary": lambda vectors, ranges: np.packbits(vectors > 0, axis=1),
}
_DECODERS: Mapping[str, Callable[[Codes, Ranges], NDArray[np.float32]]] = {
    "float32": lambda codes, ranges: codes,
    "int8": lambda codes, ranges: _middles(codes.astype(np.float32) + 128, ranges),
    "uint8": lambda codes, ranges: _middles(codes.astype(np.float32), ranges),
    "binary": lambda codes, ranges: _signs(codes.view(np.uint8) ^ np.uint8(128), ranges),
    "ubinary": _signs,
}
