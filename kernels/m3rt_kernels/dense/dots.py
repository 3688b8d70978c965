"""Dot products of queries with dense rows of each storage, on threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import readonly
from ..compiler.jit import either, jit
from ..parallel import run_ranges, split
from ..quantize import unpack_bits

_ROWS = 256  # turned to float32 at a time without numba, to stay in the second cache
_HALVES = 8  # rows turned to float32 at a time with it, to stay in the first
_UNPACK_NS, _MULTIPLY_NS = 1.5, 0.1  # numpy's time for a number: to make a float32 of it, and for each query
_SHARE = 1 << 20  # bytes of vectors that are worth a thread
_RANGE = 6 << 20  # bytes of vectors in a range: a thread that is held up leaves the next ones to others


def dots(queries: NDArray[np.float32], rows: NDArray[Any], out: NDArray[np.float32], threads: int) -> None:
    """out (nq, n) = queries times rows."""
    half = rows.dtype == np.float16
    add = _add_half_dots if half else _add_dots

    def native(add: Any, begin: int, end: int) -> None:
        add(queries, readonly(rows[begin:end].view(np.uint16) if half else rows[begin:end]), out, begin)

    def plain(begin: int, end: int) -> None:
        out[:, begin:end] = queries @ rows[begin:end].astype(np.float32).T

    _run(add, native, plain, queries, rows, threads)


def _run(
    kernel: Any,
    native: Callable[[Any, int, int], None],
    plain: Callable[[int, int], None],
    queries: NDArray[np.float32],
    rows: NDArray[Any],
    threads: int,
) -> None:
    numbers = len(rows) * queries.shape[1]
    either(
        kernel,
        numbers * (_UNPACK_NS + _MULTIPLY_NS * len(queries)),
        lambda kernel: _spread(partial(native, kernel), rows, threads, len(rows)),
        lambda: _spread(plain, rows, threads, _ROWS),
    )


def _spread(work: Callable[[int, int], None], rows: NDArray[Any], threads: int, step: int) -> None:
    """Call work(begin, end) on threads, for ranges of at most `step` rows and at least as many as threads."""
    threads = min(threads, 1 + rows.nbytes // _SHARE)
    parts = max(threads, rows.nbytes // _RANGE, -(-len(rows) // max(1, step)))
    run_ranges(work, split(len(rows), parts), threads)


@jit(fastmath={"reassoc", "contract", "nsz"})
def _add_dots(queries, rows, out, first):  # type: ignore[no-untyped-def]
    whole = len(queries) // 4 * 4
    for i in range(len(rows)):
        row = rows[i]
        for q in range(0, whole, 4):  # a row is read once for four queries
            a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for j in range(len(row)):
                value = np.float32(row[j])
                a += queries[q, j] * value
                b += queries[q + 1, j] * value
                c += queries[q + 2, j] * value
                d += queries[q + 3, j] * value
            out[q, first + i], out[q + 1, first + i], out[q + 2, first + i], out[q + 3, first + i] = a, b, c, d
        for q in range(whole, len(queries)):
            total = np.float32(0)
            for j in range(len(row)):
                total += queries[q, j] * np.float32(row[j])
            out[q, first + i] = total


@jit
def _add_half_dots(queries, rows, out, first):  # type: ignore[no-untyped-def]
    """_add_dots of float16 rows, given as uint16, which numba can convert only by their bits."""
    floats = np.empty((min(_HALVES, len(rows)), rows.shape[1]), np.float32)
    for begin in range(0, len(rows), _HALVES):
        count = min(_HALVES, len(rows) - begin)
        for i in range(count):
            row, own = rows[begin + i], floats[i]
            for j in range(len(row)):
                own[j] = _float(row[j])
        _add_dots(queries, floats[:count], out, first + begin)


@jit
def _float(half):  # type: ignore[no-untyped-def]
    half = np.uint32(half)
    bits = (half & np.uint32(0x8000)) << np.uint32(16) | (half & np.uint32(0x7FFF)) << np.uint32(13)
    # Infinities and NaN have the largest exponent, 31 there and 255 here.
    bits += np.uint32(224 << 23) if half & np.uint32(0x7C00) == np.uint32(0x7C00) else np.uint32(0)
    return np.uint32(bits).view(np.float32) * np.float32(2.0**112)


def sign_dots(queries: NDArray[np.float32], bits: NDArray[np.uint8], out: NDArray[np.float32], threads: int) -> None:
    """out (nq, n) = queries times signs."""
    signs = unpack_bits(np.arange(256, dtype=np.uint8)[:, None])
    tables = np.ascontiguousarray(queries.reshape(len(queries), -1, 8) @ signs.T)  # what each byte of signs adds

    def native(add: Any, begin: int, end: int) -> None:
        add(tables, readonly(bits[begin:end]), out, begin)

    def plain(begin: int, end: int) -> None:
        out[:, begin:end] = queries @ unpack_bits(bits[begin:end]).T

    _run(_add_signs, native, plain, queries, bits, threads)


@jit(fastmath={"reassoc", "contract", "nsz"})
def _add_signs(tables, bits, out, first):  # type: ignore[no-untyped-def]
    pairs = bits.shape[1] // 2
    for q in range(len(tables)):
        table = tables[q]
        for i in range(len(bits)):
            even, odd = np.float32(0), np.float32(0)  # two sums, so that an addition need not wait for the last
            for j in range(pairs):
                even += table[2 * j, bits[i, 2 * j]]
                odd += table[2 * j + 1, bits[i, 2 * j + 1]]
            if bits.shape[1] % 2:
                even += table[2 * pairs, bits[i, 2 * pairs]]
            out[q, first + i] = even + odd
