"""MaxSim, the late-interaction score of ColBERT (arXiv:2004.12832), over ragged documents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_ndarray
from ..compiler import jit
from ..parallel import run_ranges, thread_count
from ..quantize import quantize_int8, unpack_bits
from . import twin
from .ragged import chosen, query_segments
from .shapes import check_tokens, is_on_card

_MAX_PANEL_BYTES = 1 << 19  # packed query tokens at a time, which stay in the second-level cache
_NUMPY_NS_PER_DOCUMENT = 20_000
_NUMPY_NS_TO_UNPACK, _NUMPY_NS_TO_MULTIPLY = 1.5, 0.05  # numpy's time for a number: once, and for each query token
_MULTIPLICATIONS_PER_THREAD = 50_000_000  # fewer, done in about 0.1 ms, are not worth a thread


def maxsim(
    query: NDArray[np.float32],
    vectors: NDArray[np.float32] | NDArray[np.float16],
    offsets: NDArray[np.int64],
    *,
    documents: NDArray[np.int64] | None = None,
    query_offsets: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Score documents: the mean over query tokens of the largest dot product with a token of the document.

    query (nq, dim) float32, finite. vectors (total, dim) float32 of any dim, or float16 of a multiple of 8; mapped and
    read-only arrays are read in place, arrays that are not C-contiguous are copied. offsets (n + 1,): document i has
    rows offsets[i]:offsets[i + 1]. documents: the indices of the documents to score, in any order; None scores all n.
    Returns a fresh (documents,) float32. A document or query without tokens scores 0. Products that are NaN are left
    out: a document that has no others scores -inf.
    Where `vectors` lie on a card, as arrays of PyTorch, CuPy and numba may, the card computes, through numba.
    With query_offsets (queries + 1,) `query` holds the tokens of several queries, and the result is (queries,
    documents).
    Raises ValueError when shapes, dtypes, offsets or indices do not fit, and for a query that is not finite.

    >>> maxsim(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), np.array([0, 1, 2])).tolist()
    [0.5, 0.5]
    """
    if is_on_card(vectors):
        from . import card

        return card.maxsim(query, vectors, offsets, documents, query_offsets)
    check_tokens(query, vectors, "vectors", (np.float32, np.float16))
    if vectors.dtype == np.float16:
        _check_eight(vectors.shape[1])
    tokens = _Tokens(query, np.ones(len(query)), np.dtype(np.float32))
    rows = _Rows(vectors.dtype.name, vectors, None, lambda part: vectors[part].astype(np.float32, copy=False))
    return _score(tokens, rows, offsets, documents, query_offsets, threads)


def maxsim_int8(
    query: NDArray[np.float32],
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    offsets: NDArray[np.int64],
    *,
    documents: NDArray[np.int64] | None = None,
    query_offsets: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """maxsim() of the codes (total, dim) int8 and scales (total,) float32 that quantize_int8() makes of vectors.

    The query's tokens are quantized in the same way, so the products are of integers and exact. dim is a multiple of 8.
    """
    check_tokens(query, codes, "codes", (np.int8,))
    _check_eight(codes.shape[1])
    check_ndarray("scales", scales)
    if scales.shape != codes.shape[:1] or scales.dtype != np.float32:
        raise ValueError(
            f"scales are {scales.dtype} {scales.shape}, expected float32 ({len(codes)},), one for each row"
        )

    def load(part: slice) -> NDArray[np.float32]:
        return codes[part].astype(np.float32)

    return _score(_quantized(query), _Rows("int8", codes, scales, load), offsets, documents, query_offsets, threads)


def maxsim_binary(
    query: NDArray[np.float32],
    bits: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    *,
    documents: NDArray[np.int64] | None = None,
    query_offsets: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """maxsim() estimated from the signs (total, dim // 8) uint8 that pack_bits() keeps of unit vectors.

    The dot product of a query token q, quantized to int8, and a vector v is estimated by sqrt(pi / (2 dim)) times the
    sum of q's components with v's signs: for directions without preferred axes the estimate is right on average
    (RaBitQ, arXiv:2405.12497). To rank well, take a few times as many documents by this estimate as are needed, and
    score them with maxsim_int8(..., documents=best).
    """
    check_tokens(query, bits, "bits", (np.uint8,))
    tokens = _quantized(query, math.sqrt(math.pi / (2 * query.shape[1])))
    return _score(tokens, _Rows("bits", bits, None, lambda part: unpack_bits(bits[part])), offsets, documents,
                  query_offsets, threads)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Query tokens (nq, dim) float32, whose values all fit `dtype`, and the factor (nq,) of each token's best match."""

    values: NDArray[np.float32]
    factors: NDArray[np.float64]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Document tokens: the kernel for their storage, the array, a scale for each row or None, and rows as float32."""

    kernel: str
    array: NDArray[Any]
    scales: NDArray[np.float32] | None
    load: Callable[[slice], NDArray[np.float32]]


def _quantized(query: NDArray[np.float32], factor: float = 1.0) -> _Tokens:
    codes, scales = quantize_int8(query)
    return _Tokens(codes.astype(np.float32), scales.astype(np.float64) * factor, codes.dtype)


def _check_eight(dim: int) -> None:
    if dim % 8:
        raise ValueError(f"vectors have {dim} dimensions, expected a multiple of 8")


def _score(
    tokens: _Tokens, rows: _Rows, offsets: Any, documents: Any, query_offsets: Any, threads: int | None
) -> NDArray[np.float32]:
    starts, ends = chosen(offsets, len(rows.array), documents)
    segments, lengths = query_segments(query_offsets, len(tokens.values))
    factors = tokens.factors / lengths[segments]
    count, native = thread_count(threads), _native()
    shape = len(lengths), len(starts)

    def compiled(kernel: Any) -> NDArray[np.float64]:
        out = np.zeros(shape)
        _score_compiled(native, kernel, tokens, factors, segments, rows, starts, ends, count, out)
        return out

    def score_numpy() -> NDArray[np.float64]:
        out, values = np.zeros(shape), np.ascontiguousarray(tokens.values)
        with np.errstate(over="ignore", invalid="ignore"):  # where vectors are not finite
            twin.score(values, factors, segments, rows.load, rows.scales, starts, ends, out)
        return out

    numbers = int((ends - starts).sum()) * tokens.values.shape[1]
    cost_ns = _NUMPY_NS_PER_DOCUMENT * len(starts)
    cost_ns += numbers * (_NUMPY_NS_TO_UNPACK + _NUMPY_NS_TO_MULTIPLY * len(segments))
    scores = jit.either(getattr(native, rows.kernel, None), cost_ns, compiled, score_numpy).astype(np.float32)
    return scores[0] if query_offsets is None else scores


@cache
def _native() -> ModuleType | None:
    """Import the compiled kernels; None without numba, or on a processor for which there are none."""
    if not jit.available():
        return None
    from ..compiler.isa import instruction_set

    if instruction_set() is None:
        return None
    from . import native

    return native


def _score_compiled(
    native: Any,
    kernel: Any,
    tokens: _Tokens,
    factors: NDArray[np.float64],
    segments: NDArray[np.int64],
    rows: _Rows,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    threads: int,
    out: NDArray[np.float64],
) -> None:
    array = np.ascontiguousarray(rows.array)
    scales = (
        np.ones(native.MAX_ROWS_AT_A_TIME, np.float32) if rows.scales is None else np.ascontiguousarray(rows.scales)
    )
    dim, row_bytes = tokens.values.shape[1], array.shape[1] * array.itemsize  # a single row may have any stride
    block = max(1, _MAX_PANEL_BYTES // (dim * tokens.dtype.itemsize * native.LANES)) * native.LANES
    covered = np.concatenate([[0], np.cumsum(ends - starts)])
    for first in range(0, len(factors), block):
        part = slice(first, first + block)
        panel, bias = _pack(native, tokens.values[part], tokens.dtype)

        def work(begin: int, end: int, panel: Any = panel, bias: Any = bias, part: slice = part) -> None:
            best, scratch = np.empty(len(bias), np.float32), np.empty(native.scratch_bytes(panel.shape[1]), np.uint8)
            kernel(
                best, scratch, panel, bias, factors[part], segments[part], array.ctypes.data, row_bytes,
                scales.ctypes.data, 0 if rows.scales is None else 4, starts, ends, begin, end, out,
            )  # fmt: skip

        divided = threads > 1 and int(covered[-1]) * len(factors[part]) * dim >= _MULTIPLICATIONS_PER_THREAD
        bounds = _bounds(covered, 4 * threads if divided else 1)
        run_ranges(work, bounds, threads)


def _bounds(covered: NDArray[np.int64], parts: int) -> list[int]:
    """Return bounds of ranges of documents that have about as many tokens each; the first i have covered[i] tokens."""
    marks = covered[-1] * np.arange(1, parts) // parts
    inner = np.searchsorted(covered, marks, side="left")
    return sorted({0, len(covered) - 1, *inner.tolist()})


def _pack(
    native: Any, values: NDArray[np.float32], dtype: np.dtype[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Pack tokens as the tiles read them: panels of LANES tokens, four bytes of each in turn; and the totals' start."""
    integer = dtype.kind == "i"
    lanes, count = native.LANES, -(-len(values) // native.LANES)
    padded = np.zeros((count * lanes, values.shape[1]), native.CODE_TYPE if integer else dtype)
    padded[: len(values)] = values
    bias = np.zeros(len(padded), np.int32)
    if integer and native.SHIFTED:
        bias -= 128 * padded.sum(axis=1, dtype=np.int32)
    units = padded.view(np.uint32).reshape(count, lanes, -1)
    panel = np.ascontiguousarray(units.transpose(0, 2, 1)).view(np.uint8)
    return panel.reshape(count, -1), bias
