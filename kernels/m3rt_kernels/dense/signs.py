"""Signs of centred vectors, 1 bit a component: a scan of them finds the rows that are worth an exact score.

The estimate is RaBitQ's (Gao and Long, SIGMOD 2024) without its rotation: query . row is
query . center + center . rest + (query - center) . rest, where rest = row - center. The last product is about
factor * ((query - center) . signs of rest), and the factor, |rest|^2 / |rest|_1, makes it exact for a query whose
difference from the center is `rest` itself. center . rest is a row's offset; for Signs without offsets the whole of
query . rest is estimated, which is worse where all vectors point one way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checks import check_alive, check_array, check_finite, check_k, readonly
from ..compiler.jit import either, jit
from ..parallel import run_ranges, split, thread_count
from ..top_k import best

Rows = Callable[[int, int], NDArray[np.float32]]  # rows begin..end - 1 of some vectors

WORD_BITS = 64
_PLANES = 4  # bits of a query's component
_MAX_STEP = (1 << _PLANES) - 1
_ROWS_AT_A_TIME = 1 << 12  # are converted to float32
_NUMPY_ROWS_AT_A_TIME, _KERNEL_ROWS_AT_A_TIME = 1 << 13, 1 << 15  # of a range: when a thread is held up, others go on
_NUMPY_NS_PER_WORD = 8.0  # numpy's time for a word of a row and all planes
_ONE, _TWO, _FOUR, _TOP_BYTE = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_PAIRS, _NIBBLES = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BYTES, _EACH_BYTE = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)


class Signs(NamedTuple):
    """words (n, ceil(dim / 64)) uint64: component i in bit i % 64 of word i // 64. Others float32.

    factors, offsets: (n,); center: (dim,).
    """

    words: NDArray[np.uint64]
    factors: NDArray[np.float32]
    center: NDArray[np.float32]
    offsets: NDArray[np.float32] | None = None


def sign_words(rows: Rows, n: int, dim: int) -> Signs:
    """Make the Signs of n finite vectors; rows(begin, end) gives (end - begin, dim) float32. Fresh arrays."""
    total = np.zeros(dim, np.float64)
    for begin in range(0, n, _ROWS_AT_A_TIME):
        total += rows(begin, min(begin + _ROWS_AT_A_TIME, n)).sum(axis=0, dtype=np.float64)
    center = (total / max(1, n)).astype(np.float32)
    words, factors, offsets = np.empty((n, _width(dim)), np.uint64), *np.empty((2, n), np.float32)
    for begin in range(0, n, _ROWS_AT_A_TIME):
        end = min(begin + _ROWS_AT_A_TIME, n)
        rest = rows(begin, end) - center
        words[begin:end] = _packed(rest >= 0)
        sums = np.abs(rest).sum(axis=1)
        factors[begin:end] = np.einsum("ij,ij->i", rest, rest) / np.where(sums > 0, sums, 1)
        offsets[begin:end] = rest @ center
    return Signs(words, factors, center, offsets)


def check_signs(signs: Signs, n: int, dim: int) -> None:
    """Raise ValueError unless `signs` have the shapes and dtypes of n vectors of `dim` components."""
    check_array("words", signs.words, np.uint64, 2)
    check_array("factors", signs.factors, np.float32, 1)
    check_array("center", signs.center, np.float32, 1)
    shapes = signs.words.shape, signs.factors.shape, signs.center.shape
    if shapes != ((n, _width(dim)), (n,), (dim,)):
        raise ValueError(f"words, factors and center are {shapes}, expected {((n, _width(dim)), (n,), (dim,))}")
    if signs.offsets is not None:
        check_array("offsets", signs.offsets, np.float32, 1)
        if len(signs.offsets) != n:
            raise ValueError(f"{len(signs.offsets)} offsets for {n} rows of signs, expected as many")


def dense_top_k_signs(
    query: NDArray[np.float32],
    signs: Signs,
    k: int,
    *,
    alive: NDArray[np.bool_] | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k rows with the largest estimates of their dot products with query (dim,) float32, finite.

    The query less the center is rounded to 16 steps. alive (n,) bool marks the rows that may be returned. Returns fresh
    docs (k',) int64 and estimates (k',) float32, best first, ties by the lower doc, k' = min(k, how many are alive).
    Rescore them with `dense_scores`. Raises ValueError when arguments do not fit or an estimate is NaN.
    """
    check_array("query", query, np.float32, 1)
    check_array("factors", signs.factors, np.float32, 1)
    check_signs(signs, len(signs.factors), len(query))
    check_finite("query", query)
    check_finite("center", signs.center)
    check_k(k)
    check_alive(alive, len(signs.factors))
    rest = query if signs.offsets is None else query - signs.center
    step = np.float32(np.abs(rest).max(initial=0) / (_MAX_STEP / 2)) or np.float32(1)
    steps = np.clip(np.rint(rest / step + np.float32(_MAX_STEP / 2)), 0, _MAX_STEP).astype(np.uint8)
    planes = readonly(np.stack([_packed((steps[None] >> plane & 1).astype(np.bool_))[0] for plane in range(_PLANES)]))
    # A component is step times the sum over planes of 2^plane * (+-1 / 2), and of n products of signs, each mismatch
    # turns a 1 into a -1. So rest . signs is step * (_MAX_STEP * n / 2 - mismatches, each times 2^plane).
    line = np.array([query @ signs.center, _MAX_STEP * len(query) / 2, step], np.float32)
    estimates = np.empty(len(signs.factors), np.float32)
    _write_estimates(planes, signs, line, estimates, thread_count(threads))
    if np.isnan(estimates).any():
        raise ValueError(f"row {int(np.isnan(estimates).argmax())} scores NaN, expected finite factors")
    return best(estimates, k, alive)


def _width(dim: int) -> int:
    return -(-dim // WORD_BITS)


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack (n, dim) into little-endian words; the bits that fill the last word are 0."""
    wide = np.zeros((len(bits), _width(bits.shape[1]) * WORD_BITS // 8), np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little")
    wide[:, : packed.shape[1]] = packed
    return wide.view("<u8").astype(np.uint64, copy=False)


def _write_estimates(
    planes: NDArray[np.uint64], signs: Signs, line: NDArray[np.float32], out: NDArray[np.float32], threads: int
) -> None:
    words, factors, line = readonly(signs.words), readonly(signs.factors), readonly(line)
    offsets = readonly(np.zeros(len(words), np.float32) if signs.offsets is None else signs.offsets)

    def spread(write: Any, step: int) -> None:
        bounds = split(len(words), -(-len(words) // step))
        run_ranges(lambda b, e: write(planes, words[b:e], factors[b:e], offsets[b:e], line, out, b), bounds, threads)

    either(
        _estimates,
        words.size * _NUMPY_NS_PER_WORD,
        lambda kernel: spread(kernel, _KERNEL_ROWS_AT_A_TIME),
        lambda: spread(_estimates_numpy, _NUMPY_ROWS_AT_A_TIME),
    )


@jit
def _estimates(planes, words, factors, offsets, line, out, first):  # type: ignore[no-untyped-def]
    """Write line[0] + offset + line[2] * factor * (line[1] - mismatches); mismatches of plane p count 2^p each."""
    for i in range(len(words)):
        a, b, c, d = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        for w in range(words.shape[1]):
            word = words[i, w]
            a += _count(word ^ planes[0, w])
            b += _count(word ^ planes[1, w])
            c += _count(word ^ planes[2, w])
            d += _count(word ^ planes[3, w])
        mismatches = np.float32(np.int64(a + _TWO * b + _FOUR * c + _FOUR * _TWO * d))
        out[first + i] = line[0] + offsets[i] + line[2] * factors[i] * (line[1] - mismatches)


@jit
def _count(word):  # type: ignore[no-untyped-def]
    """Count the bits that are set: LLVM knows this sequence, and uses the processor's instruction."""
    word = word - ((word >> _ONE) & _PAIRS)
    word = (word & _NIBBLES) + ((word >> _TWO) & _NIBBLES)
    return (((word + (word >> _FOUR)) & _BYTES) * _EACH_BYTE) >> _TOP_BYTE


def _estimates_numpy(
    planes: NDArray[np.uint64],
    words: NDArray[np.uint64],
    factors: NDArray[np.float32],
    offsets: NDArray[np.float32],
    line: NDArray[np.float32],
    out: NDArray[np.float32],
    first: int,
) -> None:
    total = np.zeros(len(words), np.int64)
    for plane, row in enumerate(planes):
        total += np.bitwise_count(words ^ row).sum(axis=1, dtype=np.int64) << plane
    out[first : first + len(words)] = line[0] + offsets + line[2] * factors * (line[1] - total.astype(np.float32))
