"""MaxSim where the vectors are on a card: a block of threads for each document and query, tokens in square tiles.

Only imported for arrays that lie on a card, since it imports numba's CUDA.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda, float32
from numpy.typing import NDArray

from .ragged import chosen, query_segments
from .shapes import check_tokens, is_on_card

_TILE = 32  # tokens of the query, tokens of the document, and components of both, that a block holds at a time
_THREAD_ROWS = 8
_EACH = _TILE // _THREAD_ROWS  # query tokens of a thread
_MAX_QUERIES = 65_535  # of a grid


def maxsim(query: Any, vectors: Any, offsets: Any, documents: Any, query_offsets: Any) -> NDArray[np.float32]:
    """maxsim() of vectors (total, dim) on a card; query may lie there too. Raises ValueError, numba's own errors."""
    rows = cuda.as_cuda_array(vectors)
    tokens = cuda.as_cuda_array(query).copy_to_host() if is_on_card(query) else query
    return score(tokens, rows, offsets, documents, query_offsets)


def score(
    query: NDArray[np.float32], rows: Any, offsets: Any, documents: Any, query_offsets: Any
) -> NDArray[np.float32]:
    """The same of rows (total, dim) as numba holds them on the card."""
    check_tokens(query, rows, "vectors", (np.float32, np.float16))
    starts, ends = chosen(offsets, len(rows), documents)
    lengths = query_segments(query_offsets, len(query))[1]
    if len(lengths) > _MAX_QUERIES:
        raise ValueError(f"there are {len(lengths)} queries, expected at most {_MAX_QUERIES} on a card")
    out = np.zeros((len(lengths), len(starts)), np.float32)
    if out.size:
        query_starts = np.concatenate([[0], np.cumsum(lengths)])
        on_card = cuda.to_device(out)
        grid, block = (len(starts), len(lengths)), (_TILE, _THREAD_ROWS)
        _kernel[grid, block](np.ascontiguousarray(query), query_starts, rows, starts, ends, on_card)
        out = on_card.copy_to_host()
    return out[0] if query_offsets is None else out


@cuda.jit  # type: ignore[untyped-decorator, unused-ignore]
def _kernel(query: Any, query_starts: Any, rows: Any, starts: Any, ends: Any, out: Any) -> None:
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    document, number = cuda.blockIdx.x, cuda.blockIdx.y
    first, last = query_starts[number], query_starts[number + 1]
    start, end, dim = starts[document], ends[document], query.shape[1]
    a = cuda.shared.array((_TILE, _TILE + 1), float32)  # a column more, so that no two threads meet in a bank
    b = cuda.shared.array((_TILE, _TILE + 1), float32)
    sums, best = cuda.local.array(_EACH, float32), cuda.local.array(_EACH, float32)
    total = 0.0
    for q in range(first, last, _TILE):
        for i in range(_EACH):
            best[i] = -np.inf
        for d in range(start, end, _TILE):
            for i in range(_EACH):
                sums[i] = 0
            for k in range(0, dim, _TILE):
                for i in range(_EACH):
                    row = y + i * _THREAD_ROWS
                    a[row, x] = query[q + row, k + x] if q + row < last and k + x < dim else 0
                    b[row, x] = float32(rows[d + row, k + x]) if d + row < end and k + x < dim else 0
                cuda.syncthreads()
                for j in range(_TILE):
                    for i in range(_EACH):
                        sums[i] += a[y + i * _THREAD_ROWS, j] * b[x, j]
                cuda.syncthreads()
            if d + x < end:
                for i in range(_EACH):
                    if sums[i] > best[i]:  # NaN is not
                        best[i] = sums[i]
        for i in range(_EACH):
            a[y + i * _THREAD_ROWS, x] = best[i]
        cuda.syncthreads()
        if y == 0 and q + x < last:
            largest = a[x, 0]
            for j in range(1, _TILE):
                largest = max(largest, a[x, j])
            total += largest
        cuda.syncthreads()
    if y == 0:
        a[0, x] = total
    cuda.syncthreads()
    if x == 0 and y == 0 and start < end and first < last:
        whole = 0.0
        for j in range(_TILE):
            whole += a[0, j]
        out[number, document] = whole / (last - first)
