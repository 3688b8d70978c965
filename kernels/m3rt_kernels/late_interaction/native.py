"""Compiled MaxSim: documents one after another, each in tiles. It is imported when first used: it imports numba.

Every kernel here has the signature of `_scorer`'s function and adds to out (queries, documents) float64, for documents
first..last - 1, the best match of each query token times its factor. best (query tokens, padded) float32 and scratch
(see `scratch_bytes`) uint8 are memory that only one call may use at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler.isa import instruction_set
from ..compiler.jit import inner, jit
from .convert import bit_to_code, byte_to_code, half_to_float
from .tile import float_tile, integer_tile

_isa = instruction_set()
if _isa is None:
    raise ImportError("compiled MaxSim needs AVX2 or NEON")
LANES = _isa.lanes
CODE_TYPE = np.dtype("f4" if _isa.codes == "floats" else f"i{_isa.code_bytes}")
SHIFTED = _isa.codes == "shifted bytes"
_BYTES = _isa.code_bytes
_SET = _isa.name
_TALL, _SHORT, _ONE = _isa.heights
MAX_ROWS_AT_A_TIME = 2 * _TALL  # are converted, and stay in the cache


def scratch_bytes(panel_bytes: int) -> int:
    """Return the size of the rows that are converted at a time, if a panel of the query has `panel_bytes`."""
    return MAX_ROWS_AT_A_TIME * panel_bytes // LANES


def _folder(name: str, tile: Any) -> Any:
    """Make fold(), which updates the best match of each query token with consecutive rows, in tiles of three heights.

    The last tile may reach back over rows of the one before: a maximum may take a row twice.
    """
    tall2, tall1 = tile(_isa, _TALL, 2), tile(_isa, _TALL, 1)
    short2, short1 = tile(_isa, _SHORT, 2), tile(_isa, _SHORT, 1)
    one2, one1 = tile(_isa, _ONE, 2), tile(_isa, _ONE, 1)

    @inner(f"fold_{name}_{_SET}")
    def fold(panel, panel_bytes, panels, rows, row_bytes, count, bias, scales, best, ahead, ahead_bytes):  # type: ignore[no-untyped-def]
        steps = row_bytes // 4
        tall_stride, short_stride = _TALL * ahead_bytes // steps, _SHORT * ahead_bytes // steps
        most_by_short = (_TALL - 1) // _SHORT * _SHORT  # more rows are not worth short tiles, which take as long
        done = 0
        while done < count:
            left = count - done
            if left >= _TALL or (count >= _TALL and left > most_by_short):
                height, stride = _TALL, tall_stride
            elif left >= _SHORT or (count >= _SHORT and left > 1):
                height, stride = _SHORT, short_stride
            else:
                height, stride = _ONE, 0
            at = min(done, count - height)
            here, scale = rows + at * row_bytes, scales + at * 4
            soon = ahead + at * ahead_bytes
            for p in range(0, panels, 2):
                lane = p * LANES * 4
                query, start, top = panel + p * panel_bytes, bias + lane, best + lane
                if p + 1 < panels:
                    if height == _TALL:
                        tall2(query, panel_bytes, here, row_bytes, steps, start, scale, top, soon, stride)
                    elif height == _SHORT:
                        short2(query, panel_bytes, here, row_bytes, steps, start, scale, top, soon, stride)
                    else:
                        one2(query, panel_bytes, here, row_bytes, steps, start, scale, top, soon, stride)
                elif height == _TALL:
                    tall1(query, panel_bytes, here, row_bytes, steps, start, scale, top, soon, stride)
                elif height == _SHORT:
                    short1(query, panel_bytes, here, row_bytes, steps, start, scale, top, soon, stride)
                else:
                    one1(query, panel_bytes, here, row_bytes, steps, start, scale, top, soon, stride)
            done = at + height

    return fold


def _scorer(name: str, fold: Any, convert: Any = None) -> Any:
    """Make score(), which reads documents in place, or converts some rows at a time by convert(source, target, bytes).

    numba frees an array after the last line that names it, even if its address is still in use. So kernels make no
    arrays: `best` and `scratch` come from the caller too, and Python keeps them until the call returns.
    """

    @inner(f"score_{name}_{_SET}")
    def score(  # type: ignore[no-untyped-def]
        best, scratch, panel, bias, factors, segments, rows, row_bytes, scales, scale_bytes, starts, ends, first, last,
        out,
    ):  # fmt: skip
        panels, panel_bytes = panel.shape[0], panel.shape[1]
        wide_bytes = panel_bytes // LANES
        query, start, top, wide = panel.ctypes.data, bias.ctypes.data, best.ctypes.data, scratch.ctypes.data
        for d in range(first, last):
            begin, end = starts[d], ends[d]
            if begin == end:
                continue
            best[:] = -np.inf
            if convert is None:
                here = rows + begin * row_bytes
                fold(
                    query, panel_bytes, panels, here, row_bytes, end - begin, start, scales + begin * scale_bytes, top,
                    here + _TALL * row_bytes, row_bytes,
                )  # fmt: skip
            else:
                for t in range(begin, end, MAX_ROWS_AT_A_TIME):
                    count = min(MAX_ROWS_AT_A_TIME, end - t)
                    convert(rows + t * row_bytes, wide, count * row_bytes)
                    fold(
                        query, panel_bytes, panels, wide, wide_bytes, count, start, scales + t * scale_bytes, top,
                        rows + (t + MAX_ROWS_AT_A_TIME) * row_bytes, row_bytes,
                    )  # fmt: skip
            for j in range(len(segments)):
                out[segments[j], d] += best[j] * factors[j]

    return score


def _loop(name: str, many: Any, few: Any, count: int, source_bytes: int, target_bytes: int) -> Any:
    """Make convert(source, target, bytes), which calls `many` for `count` numbers at a time, then `few` for 8.

    source_bytes, target_bytes: the sizes of eight numbers.
    """
    chunk = count * source_bytes // 8

    @inner(f"convert_{name}_{_SET}")
    def convert(source, target, size):  # type: ignore[no-untyped-def]
        at = 0
        while at + chunk <= size:
            many(source + at, target + at // source_bytes * target_bytes)
            at += chunk
        while at < size:
            few(source + at, target + at // source_bytes * target_bytes)
            at += source_bytes

    return convert


_float_fold, _integer_fold = _folder("float", float_tile), _folder("integer", integer_tile)
_half = _loop("float16", half_to_float(16), half_to_float(8), 16, 16, 32)
_bits = _loop("bits", bit_to_code(64, _isa), bit_to_code(8, _isa), 64, 1, 8 * _BYTES)
_codes = None if _BYTES == 1 else _loop("int8", byte_to_code(32, _isa), byte_to_code(8, _isa), 32, 8, 8 * _BYTES)

_score_float32 = _scorer("float32", _float_fold)
_score_float16 = _scorer("float16", _float_fold, _half)
_score_int8 = _scorer("int8", _integer_fold, _codes)
_score_bits = _scorer("bits", _integer_fold, _bits)


@jit
def float32(*arguments: Any) -> None:
    _score_float32(*arguments)


@jit
def float16(*arguments: Any) -> None:
    _score_float16(*arguments)


@jit
def int8(*arguments: Any) -> None:
    _score_int8(*arguments)


@jit
def bits(*arguments: Any) -> None:
    _score_bits(*arguments)
