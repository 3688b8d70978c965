"""MaxSim beside FlagEmbedding, numpy, maxsim-cpu and the processor's own limit, on random unit vectors.

python benchmarks/kernels_maxsim.py [--threads N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import maxsim_cpu
import numpy as np
from common import interleaved, regime, report, spread
from FlagEmbedding.inference.embedder.encoder_only.m3 import M3Embedder
from gemm import rates
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8

from m3rt.threads import available_cpus

Array = np.ndarray[Any, Any]
Calls = dict[str, Callable[[], Array]]


def unit_rows(draw: np.random.Generator, rows: int, dim: int) -> Array:
    vectors = draw.normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def one_query(dim: int, peak: float, threads: int) -> list[dict[str, Any]]:
    """32 query tokens against 500 documents of 50 to 350 tokens."""
    draw = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(draw.integers(50, 351, 500))])
    query, vectors = unit_rows(draw, 32, dim), unit_rows(draw, int(offsets[-1]), dim)
    documents = [vectors[a:b] for a, b in pairwise(offsets)]
    calls: Calls = {
        "FlagEmbedding colbert_score": lambda: np.array([_flag(query, document) for document in documents]),
        "numpy, a product a document": lambda: np.array([(query @ d.T).max(axis=1).mean() for d in documents]),
        "numpy, one product, reduceat": lambda: np.maximum.reduceat(query @ vectors.T, offsets[:-1], axis=1).mean(0),
    }
    if dim == 128:
        calls["maxsim-cpu 0.1.0"] = lambda: np.array(maxsim_cpu.maxsim_scores_variable(query, documents)) / len(query)
    calls |= _ours(query, vectors, offsets, threads)
    work = 2 * len(query) * vectors.size
    return _rows(f"1 query, 500 documents, dim {dim}", calls, work, peak)


def many_queries(peak: float, threads: int) -> list[dict[str, Any]]:
    """16 queries at once, which read the documents once, against one after another."""
    draw = np.random.default_rng(0)
    offsets = np.arange(0, 30_001, 150)
    vectors, queries = unit_rows(draw, 30_000, 1024), unit_rows(draw, 16 * 32, 1024)
    rows, each = quantize_int8(vectors), np.arange(0, len(queries) + 1, 32)
    calls: Calls = {
        "FlagEmbedding colbert_score": lambda: np.array(
            [[_flag(queries[q:r], vectors[a:b]) for a, b in pairwise(offsets)] for q, r in pairwise(each)]
        ),
        "m3rt int8, one by one": lambda: np.stack(
            [maxsim_int8(queries[q:r], *rows, offsets, threads=threads) for q, r in pairwise(each)]
        ),
        "m3rt int8, query_offsets": lambda: maxsim_int8(queries, *rows, offsets, query_offsets=each, threads=threads),
    }
    return _rows("16 queries, 200 documents of 150 tokens, dim 1024", calls, 2 * len(queries) * vectors.size, peak)


def reranking(peak: float, threads: int) -> list[dict[str, Any]]:
    """100 of 4,000 documents of 64 tokens."""
    draw = np.random.default_rng(0)
    offsets, some = np.arange(0, 256_001, 64), draw.choice(4000, 100, replace=False)
    query, vectors = unit_rows(draw, 16, 1024), unit_rows(draw, 256_000, 1024)
    rows = quantize_int8(vectors)
    calls: Calls = {
        "FlagEmbedding colbert_score": lambda: np.array(
            [_flag(query, vectors[offsets[i] : offsets[i + 1]]) for i in some]
        ),
        "m3rt float32": lambda: maxsim(query, vectors, offsets, documents=some, threads=threads),
        "m3rt int8": lambda: maxsim_int8(query, *rows, offsets, documents=some, threads=threads),
    }
    return _rows("rerank 100 documents of 64 tokens, 16 query tokens, dim 1024", calls, 2 * 16 * 6400 * 1024, peak)


def alone(dim: int) -> dict[str, Any]:
    """How a process ends that calls maxsim-cpu on one_query()'s shapes with vectors of `dim`."""
    script = f"""
import maxsim_cpu, numpy as np
lengths = np.random.default_rng(0).integers(50, 351, 500)
maxsim_cpu.maxsim_scores_variable(np.ones((32, {dim}), np.float32), [np.ones((n, {dim}), np.float32) for n in lengths])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    end = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return {"what": f"1 query, 500 documents, dim {dim}", "who": "maxsim-cpu 0.1.0", "ms, median (range)": end}


def _ours(query: Array, vectors: Array, offsets: Array, threads: int) -> Calls:
    half, codes, bits = vectors.astype(np.float16), quantize_int8(vectors), pack_bits(vectors)
    return {
        "m3rt float32": lambda: maxsim(query, vectors, offsets, threads=threads),
        "m3rt float16": lambda: maxsim(query, half, offsets, threads=threads),
        "m3rt int8": lambda: maxsim_int8(query, *codes, offsets, threads=threads),
        "m3rt 1 bit": lambda: maxsim_binary(query, bits, offsets, threads=threads),
    }


def _flag(query: Array, document: Array) -> float:
    return float(M3Embedder.colbert_score(None, query, document))


def _rows(what: str, calls: Calls, work: int, peak: float) -> list[dict[str, Any]]:
    exact = next(iter(calls.values()))()
    error = {name: np.abs(call() - exact).max() / np.abs(exact).max() for name, call in calls.items()}
    seconds = interleaved(calls, repeats=11)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    return [
        {
            "what": what,
            "who": name,
            "ms, median (range)": spread(seconds[name]),
            "times faster than the first": f"{next(iter(middle.values())) / middle[name]:.1f}",
            "GOPS": round(work / middle[name] / 1e9),
            "of the u8s8 peak": f"{work / middle[name] / peak:.0%}",
            "greatest difference": f"{error[name]:.1e}",
        }
        for name in calls
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=available_cpus())
    threads = parser.parse_args().threads
    limit = rates(threads)
    peak = limit["u8s8"]
    rows = one_query(1024, peak, threads) + one_query(128, peak, threads)
    rows += [alone(256), alone(1024), *many_queries(peak, threads), *reranking(peak, threads)]
    report("MaxSim", rows, regime(threads=threads, **{f"{k} GOPS": round(v / 1e9) for k, v in limit.items()}))


if __name__ == "__main__":
    main()
