"""Vectors to fewer bits: int8 codes with a scale for each row, and signs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_A_TIME = 1 << 12  # are converted, so that no float32 copy of all float16 or mapped vectors is needed


def quantize_int8(vectors: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Turn rows into codes of -127..127 and a scale for each row, which is its absmax / 127.

    vectors (n, dim) float32 or float16, finite. Returns fresh codes (n, dim) int8, scales (n,) float32; a row of zeros
    has scale 0. A code times its scale differs from its component by half a scale at most.
    Raises ValueError for another dtype or shape, NaN and infinities.

    >>> codes, scales = quantize_int8(np.array([[0.5, -1.0]], np.float32))
    >>> codes.tolist(), (codes * scales[:, None]).round(3).tolist()
    ([[64, -127]], [[0.504, -1.0]])
    """
    _check(vectors)
    codes, scales = np.empty(vectors.shape, np.int8), np.empty(len(vectors), np.float32)
    for i in range(0, len(vectors), _ROWS_AT_A_TIME):
        block = _finite(vectors[i : i + _ROWS_AT_A_TIME])
        scale = np.abs(block).max(axis=1, initial=0) / np.float32(127)
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > np.finfo(np.float32).tiny)
        codes[i : i + _ROWS_AT_A_TIME] = np.rint(block * inverse[:, None])
        scales[i : i + _ROWS_AT_A_TIME] = np.where(inverse > 0, scale, 0)
    return codes, scales


def pack_bits(vectors: NDArray[Any]) -> NDArray[np.uint8]:
    """Keep the signs of vectors (n, dim) float32 or float16, component i in bit i % 8 of byte i // 8.

    Returns fresh (n, dim // 8) uint8; a bit is set where the component is >= 0. Raises ValueError for another dtype or
    shape, a dim that is no multiple of 8, NaN and infinities.

    >>> pack_bits(np.array([[1, -1, 0, 1, -1, -1, -1, -1]], np.float32)).tolist()
    [[13]]
    """
    _check(vectors)
    if vectors.shape[1] % 8:
        raise ValueError(f"vectors have {vectors.shape[1]} dimensions, expected a multiple of 8")
    bits = np.empty((len(vectors), vectors.shape[1] // 8), np.uint8)
    for i in range(0, len(vectors), _ROWS_AT_A_TIME):
        block = _finite(vectors[i : i + _ROWS_AT_A_TIME])
        bits[i : i + _ROWS_AT_A_TIME] = np.packbits(block >= 0, axis=1, bitorder="little")
    return bits


def quantize_centred(
    vectors: NDArray[np.float32], center: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Keep the signs of vectors (n, dim) float32 less a center (dim,) float32, a factor and an offset of each row.

    Returns fresh bits (n, dim // 8) uint8 as pack_bits does, factors (n,) and offsets (n,) float32. About query . row
    is query . center + offset + factor * (query . signs), RaBitQ's estimate as dense/signs.py has it, for a query that
    nobody needs to center. Around 0 the factor is 1 / sqrt(dim), which makes signs a vector of unit length.
    Raises ValueError as pack_bits, and for a center that does not fit.
    """
    if vectors.dtype != np.float32 or center.dtype != np.float32 or center.shape != vectors.shape[1:]:
        raise ValueError(f"center is {center.dtype} {center.shape}, expected float32 {vectors.shape[1:]}, as vectors")
    n, dim = vectors.shape
    if not center.any():
        return pack_bits(vectors), np.full(n, 1 / np.sqrt(max(1, dim)), np.float32), np.zeros(n, np.float32)
    rest = vectors - center
    bits, sums = pack_bits(rest), np.abs(rest).sum(axis=1)
    factors = np.einsum("ij,ij->i", rest, rest) / np.where(sums > 0, sums, 1)
    offsets = rest @ center - factors * (unpack_bits(bits) @ center)
    return bits, factors, offsets


def unpack_bits(bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn the (n, dim // 8) uint8 of pack_bits() into signs (n, dim) float32 of 1 and -1."""
    return np.unpackbits(bits, axis=1, bitorder="little").astype(np.float32) * 2 - 1


def _check(vectors: NDArray[Any]) -> None:
    if vectors.ndim != 2 or vectors.dtype not in (np.float32, np.float16):
        raise ValueError(f"vectors are {vectors.dtype} {vectors.shape}, expected float32 or float16 (n, dim)")


def _finite(block: NDArray[Any]) -> NDArray[np.float32]:
    if not np.isfinite(block).all():
        raise ValueError("vectors hold NaN or infinity, expected finite numbers")
    return block.astype(np.float32)
