"""Hybrid search over synthetic documents: HybridIndex, and embedded databases in this process beside it.

    python -m benchmarks.search.hybrid --work DIR [--documents 100000] [--peers qdrant milvus] [--build] [--out PREFIX]

DIR keeps the index, about 7 GB for 100,000 documents, for the next run; --build stops after building. --out writes
PREFIX.json and PREFIX.md.
The peers hold dense vectors and lexical weights only: 26 GB of float32 ColBERT vectors fit neither. Queries go to all
in turn, after one round that warms them. "as float32" is the share of the ten best that exact search over float32
vectors finds too. first_search_s is the time of a fresh process to import, open and search once, with its files in
memory and its kernels compiled before.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import m3rt_kernels
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from m3rt import Embeddings, HybridIndex

from ..common import options, regime, report, require, run_fresh, table, write_results
from .corpus import FLOAT32_BYTES, Corpus
from .peers import PACKAGES, PEERS

WEIGHTS = (1.0, 0.3, 1.0)  # of dense, sparse and ColBERT scores, m3rt's defaults
CANDIDATES = 100
_FRESH_PROCESSES = 6
_FIRST_SEARCH = """
import sys, time
start = time.perf_counter()
import numpy as np
from m3rt import Embeddings, HybridIndex, MultiVectors, SparseVectors
vectors = np.eye(32, 1024, dtype=np.float32)
terms = SparseVectors(np.array([0, 8]), np.arange(8, dtype=np.int32), np.ones(8, np.float32))
query = Embeddings(vectors[:1], terms, MultiVectors(vectors, np.array([0, 32])), np.array([33]), np.zeros(1, np.bool_))
assert len(HybridIndex(sys.argv[1]).search(query)) == 10
print(time.perf_counter() - start)
"""
Exact = Callable[[Embeddings, NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def main() -> None:
    args = _arguments()
    require(*(package for peer in args.peers for package in PACKAGES[peer]))
    m3rt_kernels.warm()
    corpus = Corpus(args.documents, args.queries)
    args.work.mkdir(parents=True, exist_ok=True)
    index = _index(args.work / f"m3rt-{args.documents}", corpus)

    def m3rt(**options: object) -> Callable[[Embeddings], list[int]]:
        return lambda query: [int(hit.id) for hit in index.search(query, **options)]  # type: ignore[arg-type]

    calls = {
        "m3rt dense": m3rt(mode="dense"),
        "m3rt sparse": m3rt(mode="sparse"),
        "m3rt dense + sparse": m3rt(fusion="rrf", rerank=False),
        "m3rt dense + sparse, MaxSim of 100": m3rt(),
    }
    for peer in args.peers:
        calls[f"{peer} dense + sparse"] = PEERS[peer](args.work / f"{peer}-{args.documents}.db", corpus)
    if args.build:
        return
    queries = [corpus.query(i) for i in range(args.queries)]
    seconds, hits = _measured(calls, queries)
    exact = _exact(corpus, queries)
    rows = [
        {
            "search": name,
            **{f"p{p} ms": f"{1e3 * np.percentile(seconds[name], p):.2f}" for p in (50, 95)},
            "as float32": f"{_agreement(hits[name], exact[name.partition(' ')[2]]):.3f}",
        }
        for name in calls
    ]
    info, stages = index.info(), index.search(queries[-1]).seconds
    document_bytes = info["size"] / args.documents
    conditions = regime(
        documents=args.documents,
        queries=args.queries,
        segments=info["segments"],
        bytes_per_document=round(document_bytes),
        of_float32=f"{document_bytes / FLOAT32_BYTES:.1%}",
        stages_ms={name: round(1e3 * value, 2) for name, value in stages.items()},
        first_search_s=_first_search(index.path),
    )
    report("Hybrid search", rows, conditions)
    if args.out:
        facts = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
        result = {"conditions": conditions, "rows": rows}
        write_results(args.out, f"# Hybrid search\n\n{table(rows)}\n\n{facts}", result)


def _index(path: Path, corpus: Corpus) -> HybridIndex:
    """Open the index at `path` and complete it from the document where an earlier run stopped."""
    index = HybridIndex(path) if path.exists() else HybridIndex.create(path, dim=1024, colbert="int8")
    for first, out in tqdm(corpus.batches(len(index)), desc="m3rt"):
        index.add([str(first + i) for i in range(len(out))], embeddings=out)
    index.compact()
    return index


def _measured(
    calls: Mapping[str, Callable[[Embeddings], list[int]]], queries: Sequence[Embeddings]
) -> tuple[dict[str, list[float]], dict[str, list[list[int]]]]:
    """Return seconds and results of each call for every query; each query goes to all calls in turn, twice."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    hits: dict[str, list[list[int]]] = {name: [] for name in calls}
    for warm in (False, True):
        for query in queries:
            for name, call in calls.items():
                start = time.perf_counter()
                result = call(query)
                if warm:
                    seconds[name].append(time.perf_counter() - start)
                    hits[name].append(result)
    return seconds, hits


def _first_search(path: Path) -> str:
    """Return median and range over fresh processes; the first of them fills the caches and does not count."""
    seconds = [run_fresh(_FIRST_SEARCH, path) for _ in range(_FRESH_PROCESSES)][1:]
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


def _exact(corpus: Corpus, queries: Sequence[Embeddings]) -> dict[str, list[list[int]]]:
    """Find the ten best of each kind of search by plain numpy over float32 vectors."""
    results: dict[str, list[list[int]]] = {}
    for query, dense, sparse in zip(queries, *corpus.scores(queries), strict=True):
        first = {"dense": _best(dense, CANDIDATES), "sparse": _best(sparse, CANDIDATES)}
        ranks = np.zeros(corpus.documents)
        for documents in first.values():
            ranks[documents] += 1 / (61 + np.arange(len(documents)))
        union = np.unique(np.concatenate(list(first.values())))
        both = WEIGHTS[0] * dense[union] + WEIGHTS[1] * sparse[union]
        order = _best(both, CANDIDATES)
        total = both[order] + WEIGHTS[2] * corpus.maxsim(query, union[order])
        fused = {"dense + sparse": _best(ranks, 10), "dense + sparse, MaxSim of 100": union[order][_best(total, 10)]}
        for name, documents in {**first, **fused}.items():
            results.setdefault(name, []).append(documents[:10].tolist())
    return results


def _best(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    return np.argsort(-scores, kind="stable")[:k]


def _agreement(hits: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(hits, exact, strict=True)]))


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--peers", nargs="*", default=[], choices=list(PEERS))
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
