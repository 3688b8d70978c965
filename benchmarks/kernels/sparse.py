"""Sparse and dense search beside FlagEmbedding, scipy, bm25s and numpy, on synthetic lexical weights with Zipf ids.

python -m benchmarks.kernels.sparse [--docs 1000000] [--threads N] [--only PART]

Needs scipy; other peers that are not installed are left out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from m3rt_kernels import (
    InvertedIndex,
    dense_top_k,
    dense_top_k_binary,
    dense_top_k_int8,
    pack_bits,
    quantize_int8,
    sparse_dot,
    warm,
)

from ..common import add_threads, interleaved, is_installed, options, regime, report, require, spread

Array = np.ndarray[Any, Any]
VOCABULARY = 250_002  # XLM-R's
QUERY_COUNT = 20
_ROWS_AT_A_TIME = 50_000  # are drawn, which bounds the memory that it takes


def zipf(rows: int, terms: int, *, seed: int, heavy_rare: bool = False) -> tuple[Array, Array, Array]:
    """Draw CSR rows (indptr, ids, weights) of `terms` distinct ids each.

    Weights are as large as BGE-M3's, for all ids alike, or larger for rare ids where `heavy_rare`.
    """
    share = np.cumsum(1 / (np.arange(VOCABULARY) + 2.7))
    names = np.random.default_rng(0).permutation(VOCABULARY).astype(np.int32)
    draw = np.random.default_rng(seed)
    counts = [min(_ROWS_AT_A_TIME, rows - i) for i in range(0, rows, _ROWS_AT_A_TIME)]
    parts = [_draw(count, terms, share / share[-1], names, draw, heavy_rare) for count in counts]
    lengths, ids, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return np.concatenate([[0], np.cumsum(lengths)]), ids, weights


def _draw(rows: int, terms: int, share: Array, names: Array, draw: Any, heavy_rare: bool) -> tuple[Array, Array, Array]:
    ranks = np.searchsorted(share, draw.random((rows, 2 * terms)))
    order = np.argsort(ranks, axis=1, kind="stable")
    ordered = np.take_along_axis(ranks, order, 1)
    repeated = np.zeros(ranks.shape, np.bool_)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    kept = ~repeated & (np.cumsum(~repeated, axis=1) <= terms)
    owners, ranks = np.nonzero(kept)[0], ranks[kept]
    weights = np.abs(draw.normal(0.15, 0.1, len(ranks))) + 0.005
    if heavy_rare:
        weights *= np.log1p(ranks) / 8
    order = np.lexsort((names[ranks], owners))
    return kept.sum(axis=1), names[ranks][order], weights[order].astype(np.float32)


def lexical(terms: int, threads: int) -> list[dict[str, Any]]:
    """Compute all scores of 100 queries and 10,000 documents."""
    a, b = zipf(100, terms, seed=1), zipf(10_000, 60, seed=2)
    matrix_a, matrix_b = _matrix(a), _matrix(b)
    seconds = _flag_embedding(_dicts(a), _dicts(b)) | interleaved({
        "scipy": lambda: (matrix_a @ matrix_b.T).toarray(),
        "m3rt": lambda: sparse_dot(*a, *b, threads=threads),
    }, 9, inner=3)  # fmt: skip
    error = np.abs(sparse_dot(*a, *b) - (matrix_a @ matrix_b.T).toarray()).max()
    return _rows(
        f"lexical scores, 100 x 10,000, {terms} terms a query", seconds, {"largest difference": f"{error:.0e}"}
    )


def inverted(docs: int, threads: int, heavy_rare: bool) -> list[dict[str, Any]]:
    """Search the top-10 of one query at a time; the time is the median over queries of the median of repeats."""
    rows = zipf(docs, 60, seed=3, heavy_rare=heavy_rare)
    matrix = _matrix(rows)
    index = InvertedIndex.build(*rows)
    bm25s_search = _bm25s(matrix)
    table = []
    for terms in (8, 60):
        indptr, ids, _ = zipf(QUERY_COUNT, terms, seed=4)
        weights = np.ones(len(ids), np.float32)  # bm25s has no weights of queries
        times: dict[str, list[float]] = {}
        wrong = 0
        for start, end in pairwise(indptr):
            query = ids[start:end], weights[start:end]
            dense = np.zeros(VOCABULARY, np.float32)
            dense[query[0]] = 1
            calls: dict[str, Callable[[], Any]] = {
                "scipy CSR product": lambda dense=dense: np.argpartition(-(matrix @ dense), 10)[:10],
            }
            if bm25s_search:
                calls["bm25s, numba"] = lambda query=query: bm25s_search(query[0])
            for count in sorted({1, threads}):
                calls[f"m3rt, {count} thread(s)"] = lambda query=query, count=count: index.search(
                    *query, 10, threads=count
                )
            for name, repeats in interleaved(calls, 3).items():
                times.setdefault(name, []).append(statistics.median(repeats))
            best = np.sort(matrix @ dense)[:-11:-1]
            wrong += not np.allclose(index.search(*query, 10)[1], best, rtol=1e-5)
        weighing = "rare ids weigh more" if heavy_rare else "weights independent of ids"
        parity = {"largest difference": f"{wrong} of {QUERY_COUNT} queries lack a top-10 score"}
        table += _rows(f"top-10 of {docs:,} x 60 terms, {terms} a query, {weighing}", times, parity)
    return table


def dense(threads: int) -> list[dict[str, Any]]:
    """Search the top-10 of 100,000 vectors of 1024 dimensions."""
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(100_000, 1024)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[:1] + draw.normal(size=(1, 1024)).astype(np.float32) / 40
    codes, scales = quantize_int8(vectors)
    half, bits = vectors.astype(np.float16), pack_bits(vectors)
    seconds = interleaved({
        "numpy float32": lambda: np.argpartition(-(vectors @ query[0]), 10)[:10],
        "copy of the int8 codes": codes.copy,
        "m3rt float32": lambda: dense_top_k(query, vectors, 10, threads=threads),
        "m3rt float16": lambda: dense_top_k(query, half, 10, threads=threads),
        "m3rt int8": lambda: dense_top_k_int8(query, codes, scales, 10, threads=threads),
        "m3rt binary": lambda: dense_top_k_binary(query, bits, 10, threads=threads),
    }, 9)  # fmt: skip
    error = np.abs(dense_top_k(query, vectors, 10)[1][0] - np.sort(vectors @ query[0])[:-11:-1]).max()
    return _rows("dense top-10 of 100,000 x 1024", seconds, {"largest difference": f"{error:.0e}"})


def _flag_embedding(queries: list[dict[str, float]], documents: list[dict[str, float]]) -> dict[str, list[float]]:
    """Time FlagEmbedding's loops. They are slow: a tenth of the queries is timed and counted ten times."""
    if not is_installed("FlagEmbedding"):
        return {}
    from FlagEmbedding.inference.embedder.encoder_only.m3 import M3Embedder

    name = "FlagEmbedding"
    calls = {name: lambda: M3Embedder.compute_lexical_matching_score(None, queries[::10], documents)}
    return {name: [10 * seconds for seconds in interleaved(calls, 3)[name]]}


def _bm25s(matrix: Any) -> Callable[[Array], Any] | None:
    """Return bm25s's search for the ten best documents of a query's ids, over a CSR matrix (documents, ids)."""
    if not is_installed("bm25s"):
        return None
    from bm25s.numba.retrieve_utils import _retrieve_numba_functional

    columns = matrix.T.tocsr()
    scores = {
        "data": columns.data, "indptr": columns.indptr, "indices": columns.indices, "num_docs": matrix.shape[0],
    }  # fmt: skip
    return lambda ids: _retrieve_numba_functional([ids], scores, k=10)


def _dicts(rows: tuple[Array, Array, Array]) -> list[dict[str, float]]:
    indptr, ids, values = rows
    return [dict(zip(map(str, ids[a:b].tolist()), values[a:b].tolist(), strict=True)) for a, b in pairwise(indptr)]


def _matrix(rows: tuple[Array, Array, Array]) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((rows[2], rows[1], rows[0]), shape=(len(rows[0]) - 1, VOCABULARY))


def _rows(what: str, seconds: Mapping[str, list[float]], parity: Mapping[str, str]) -> list[dict[str, Any]]:
    fastest = min(statistics.median(s) for name, s in seconds.items() if "m3rt" in name)
    return [
        {
            "what": what,
            "who": name,
            "ms, median (range)": spread(s),
            "times m3rt's": f"{statistics.median(s) / fastest:.2f}",
        }
        | dict(parity)
        for name, s in seconds.items()
    ]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--docs", type=int, default=1_000_000, help="documents of the inverted index")
    add_threads(parser)
    parser.add_argument("--only", choices=("lexical", "inverted", "inverted-rare", "dense"), help="one part")
    args = parser.parse_args()
    require("scipy")
    warm()
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "lexical": lambda: lexical(8, args.threads) + lexical(60, args.threads),
        "inverted": lambda: inverted(args.docs, args.threads, False),
        "inverted-rare": lambda: inverted(args.docs, args.threads, True),
        "dense": lambda: dense(args.threads),
    }
    rows = [row for name, part in parts.items() if args.only in (None, name) for row in part()]
    report("Sparse and dense search", rows, regime(threads=args.threads))


if __name__ == "__main__":
    main()
