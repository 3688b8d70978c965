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

_NUMPY_ROWS_AT_A_TIME = 256  # numpy converts them to float32, and they stay in the second-level cache
_KERNEL_ROWS_AT_A_TIME = 8  # a kernel converts them from float16, and they stay in the first-level cache
_NUMPY_NS_TO_UNPACK, _NUMPY_NS_TO_MULTIPLY = 1.5, 0.1  # numpy's time for a number: once, and for each query
_BYTES_PER_THREAD = 1 << 20  # fewer bytes of vectors are not worth a thread
_RANGE_BYTES = 6 << 20  # of vectors in a range: a thread that is held up leaves the next ranges to others


def dots(queries: NDArray[np.float32], rows: NDArray[Any], out: NDArray[np.float32], threads: int) -> None:
    """Write the products of queries and rows to out (nq, n)."""
    half = rows.dtype == np.float16

    def compiled(kernel: Any, begin: int, end: int) -> None:
        kernel(queries, readonly(rows[begin:end].view(np.uint16) if half else rows[begin:end]), out, begin)

    def twin(begin: int, end: int) -> None:
        _write_dots_numpy(queries, rows[begin:end], out, begin)

    _run(_write_half_dots if half else _write_dots, compiled, twin, queries, rows, threads)


def _run(
    kernel: Any,
    compiled: Callable[[Any, int, int], None],
    twin: Callable[[int, int], None],
    queries: NDArray[np.float32],
    rows: NDArray[Any],
    threads: int,
) -> None:
    numbers = len(rows) * queries.shape[1]
    either(
        kernel,
        numbers * (_NUMPY_NS_TO_UNPACK + _NUMPY_NS_TO_MULTIPLY * len(queries)),
        lambda kernel: _spread(partial(compiled, kernel), rows, threads, len(rows)),
        lambda: _spread(twin, rows, threads, _NUMPY_ROWS_AT_A_TIME),
    )


def _spread(work: Callable[[int, int], None], rows: NDArray[Any], threads: int, step: int) -> None:
    """Call work(begin, end) on threads, for at least as many ranges as threads, each of at most `step` rows."""
    threads = min(threads, 1 + rows.nbytes // _BYTES_PER_THREAD)
    parts = max(threads, rows.nbytes // _RANGE_BYTES, -(-len(rows) // max(1, step)))
    run_ranges(work, split(len(rows), parts), threads)


@jit(fastmath={"reassoc", "contract", "nsz"})
def _write_dots(queries, rows, out, first):  # type: ignore[no-untyped-def]
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


def _write_dots_numpy(queries: NDArray[np.float32], rows: NDArray[Any], out: NDArray[np.float32], first: int) -> None:
    """The twin of both kernels for numbers."""
    out[:, first : first + len(rows)] = queries @ rows.astype(np.float32).T


@jit
def _write_half_dots(queries, rows, out, first):  # type: ignore[no-untyped-def]
    """_write_dots of float16 rows, which are passed as uint16, since numba can convert them by their bits only."""
    floats = np.empty((min(_KERNEL_ROWS_AT_A_TIME, len(rows)), rows.shape[1]), np.float32)
    for begin in range(0, len(rows), _KERNEL_ROWS_AT_A_TIME):
        count = min(_KERNEL_ROWS_AT_A_TIME, len(rows) - begin)
        for i in range(count):
            row, converted = rows[begin + i], floats[i]
            for j in range(len(row)):
                converted[j] = _float(row[j])
        _write_dots(queries, floats[:count], out, first + begin)


@jit
def _float(half):  # type: ignore[no-untyped-def]
    half = np.uint32(half)
    bits = (half & np.uint32(0x8000)) << np.uint32(16) | (half & np.uint32(0x7FFF)) << np.uint32(13)
    # Infinities and NaN have the largest exponent, 31 there and 255 here.
    bits += np.uint32(224 << 23) if half & np.uint32(0x7C00) == np.uint32(0x7C00) else np.uint32(0)
    return np.uint32(bits).view(np.float32) * np.float32(2.0**112)


def sign_dots(queries: NDArray[np.float32], bits: NDArray[np.uint8], out: NDArray[np.float32], threads: int) -> None:
    """Write the products of queries and signs to out (nq, n)."""
    signs = unpack_bits(np.arange(256, dtype=np.uint8)[:, None])
    tables = np.ascontiguousarray(queries.reshape(len(queries), -1, 8) @ signs.T)  # the product of each byte of signs

    def compiled(kernel: Any, begin: int, end: int) -> None:
        kernel(tables, readonly(bits[begin:end]), out, begin)

    def twin(begin: int, end: int) -> None:
        _write_sign_dots_numpy(queries, bits[begin:end], out, begin)

    _run(_write_sign_dots, compiled, twin, queries, bits, threads)


@jit(fastmath={"reassoc", "contract", "nsz"})
def _write_sign_dots(tables, bits, out, first):  # type: ignore[no-untyped-def]
    pairs = bits.shape[1] // 2
    for q in range(len(tables)):
        table = tables[q]
        for i in range(len(bits)):
            even, odd = np.float32(0), np.float32(0)  # two sums, so that an addition need not wait for the one before
            for j in range(pairs):
                even += table[2 * j, bits[i, 2 * j]]
                odd += table[2 * j + 1, bits[i, 2 * j + 1]]
            if bits.shape[1] % 2:
                even += table[2 * pairs, bits[i, 2 * pairs]]
            out[q, first + i] = even + odd


def _write_sign_dots_numpy(
    queries: NDArray[np.float32], bits: NDArray[np.uint8], out: NDArray[np.float32], first: int
) -> None:
    out[:, first : first + len(bits)] = queries @ unpack_bits(bits).T
