"""MaxSim beside FlagEmbedding, numpy, maxsim-cpu and the processor's own limit, on random unit vectors.

python -m benchmarks.kernels.maxsim [--threads N]

Peers that are not installed are left out. The differences are to numpy's float32 products.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8, warm

from ..common import add_threads, interleaved, is_installed, options, regime, report, spread
from .gemm import rates

Array = np.ndarray[Any, Any]
Calls = dict[str, Callable[[], Array]]


def unit_rows(draw: np.random.Generator, rows: int, dim: int) -> Array:
    vectors = draw.normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def one_query(dim: int, peak: float, threads: int) -> list[dict[str, Any]]:
    """Score 32 query tokens against 500 documents of 50 to 350 tokens."""
    draw = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(draw.integers(50, 351, 500))])
    query, vectors = unit_rows(draw, 32, dim), unit_rows(draw, int(offsets[-1]), dim)
    documents = [vectors[a:b] for a, b in pairwise(offsets)]
    calls: Calls = _flag_embedding([query], documents) | {
        "numpy, a product a document": lambda: _exact([query], documents),
        "numpy, one product, reduceat": lambda: np.maximum.reduceat(query @ vectors.T, offsets[:-1], axis=1).mean(0),
    }
    if dim == 128:
        calls |= _maxsim_cpu(query, documents)
    calls |= _m3rt(query, vectors, offsets, threads)
    operations = 2 * len(query) * vectors.size
    return _rows(f"1 query, 500 documents, dim {dim}", calls, _exact([query], documents), operations, peak)


def many_queries(peak: float, threads: int) -> list[dict[str, Any]]:
    """Score 16 queries together, which reads the documents once, and one after another."""
    draw = np.random.default_rng(0)
    offsets = np.arange(0, 30_001, 150)
    vectors, queries = unit_rows(draw, 30_000, 1024), unit_rows(draw, 16 * 32, 1024)
    int8, query_offsets = quantize_int8(vectors), np.arange(0, len(queries) + 1, 32)
    single = [queries[a:b] for a, b in pairwise(query_offsets)]
    documents = [vectors[a:b] for a, b in pairwise(offsets)]
    calls: Calls = _flag_embedding(single, documents) | {
        "m3rt int8, one by one": lambda: np.stack(
            [maxsim_int8(query, *int8, offsets, threads=threads) for query in single]
        ),
        "m3rt int8, query_offsets": lambda: maxsim_int8(
            queries, *int8, offsets, query_offsets=query_offsets, threads=threads
        ),
    }
    what, operations = "16 queries, 200 documents of 150 tokens, dim 1024", 2 * len(queries) * vectors.size
    return _rows(what, calls, _exact(single, documents), operations, peak)


def reranking(peak: float, threads: int) -> list[dict[str, Any]]:
    """Score 100 of 4,000 documents of 64 tokens."""
    draw = np.random.default_rng(0)
    offsets, candidates = np.arange(0, 256_001, 64), draw.choice(4000, 100, replace=False)
    query, vectors = unit_rows(draw, 16, 1024), unit_rows(draw, 256_000, 1024)
    int8, documents = quantize_int8(vectors), [vectors[offsets[i] : offsets[i + 1]] for i in candidates]
    calls: Calls = _flag_embedding([query], documents) | {
        "m3rt float32": lambda: maxsim(query, vectors, offsets, documents=candidates, threads=threads),
        "m3rt int8": lambda: maxsim_int8(query, *int8, offsets, documents=candidates, threads=threads),
    }
    what, operations = "rerank 100 documents of 64 tokens, 16 query tokens, dim 1024", 2 * 16 * 6400 * 1024
    return _rows(what, calls, _exact([query], documents), operations, peak)


def exit_of_maxsim_cpu(dim: int) -> dict[str, Any]:
    """Report how a process ends that calls maxsim-cpu on one_query()'s shapes with vectors of `dim`: it may crash."""
    script = f"""
import maxsim_cpu, numpy as np
lengths = np.random.default_rng(0).integers(50, 351, 500)
maxsim_cpu.maxsim_scores_variable(np.ones((32, {dim}), np.float32), [np.ones((n, {dim}), np.float32) for n in lengths])
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True)
    end = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return {"what": f"1 query, 500 documents, dim {dim}", "who": "maxsim-cpu 0.1.0", "ms, median (range)": end}


def _m3rt(query: Array, vectors: Array, offsets: Array, threads: int) -> Calls:
    half, int8, bits = vectors.astype(np.float16), quantize_int8(vectors), pack_bits(vectors)
    return {
        "m3rt float32": lambda: maxsim(query, vectors, offsets, threads=threads),
        "m3rt float16": lambda: maxsim(query, half, offsets, threads=threads),
        "m3rt int8": lambda: maxsim_int8(query, *int8, offsets, threads=threads),
        "m3rt 1 bit": lambda: maxsim_binary(query, bits, offsets, threads=threads),
    }


def _flag_embedding(queries: list[Array], documents: list[Array]) -> Calls:
    if not is_installed("FlagEmbedding"):
        return {}
    from FlagEmbedding.inference.embedder.encoder_only.m3 import M3Embedder

    def scores() -> Array:
        return np.squeeze([[float(M3Embedder.colbert_score(None, q, d)) for d in documents] for q in queries])

    return {"FlagEmbedding colbert_score": scores}


def _maxsim_cpu(query: Array, documents: list[Array]) -> Calls:
    if not is_installed("maxsim-cpu"):
        return {}
    from maxsim_cpu import maxsim_scores_variable

    return {"maxsim-cpu 0.1.0": lambda: np.array(maxsim_scores_variable(query, documents)) / len(query)}


def _exact(queries: list[Array], documents: list[Array]) -> Array:
    """Return scores (queries, documents), or (documents,) of one query, by one product for each pair."""
    return np.squeeze([[(q @ d.T).max(axis=1).mean() for d in documents] for q in queries])


def _rows(what: str, calls: Calls, exact: Array, operations: int, peak: float) -> list[dict[str, Any]]:
    error = {name: np.abs(call() - exact).max() / np.abs(exact).max() for name, call in calls.items()}
    seconds = interleaved(calls, repeats=11)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        {
            "what": what,
            "who": name,
            "ms, median (range)": spread(seconds[name]),
            "times faster than the first": f"{next(iter(medians.values())) / medians[name]:.1f}",
            "GOPS": round(operations / medians[name] / 1e9),
            "of the u8s8 peak": f"{operations / medians[name] / peak:.0%}",
            "greatest difference": f"{error[name]:.1e}",
        }
        for name in calls
    ]


def main() -> None:
    parser = options(__doc__)
    add_threads(parser)
    threads = parser.parse_args().threads
    warm()
    limit = rates(threads)
    peak = limit["u8s8"]
    rows = one_query(1024, peak, threads) + one_query(128, peak, threads)
    if is_installed("maxsim-cpu"):
        rows += [exit_of_maxsim_cpu(256), exit_of_maxsim_cpu(1024)]
    rows += many_queries(peak, threads) + reranking(peak, threads)
    report("MaxSim", rows, regime(threads=threads, **{f"{k} GOPS": round(v / 1e9) for k, v in limit.items()}))


if __name__ == "__main__":
    main()
