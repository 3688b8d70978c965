"""Search among a million documents: HybridIndex in a fresh process, and other indexes of its dense vectors beside it.

    python -m benchmarks.search.million --work DIR --texts FILE [--documents 1000000] [--peers NAME ...] [--build]

variants.py describes the corpus. --texts: a JSON-lines file with a "text" field, of which `--real` are embedded. DIR
keeps their embeddings, the exact results and every index: 2.5 GB for m3rt, 5 for lancedb, 1 for faiss, 2.3 for usearch.
Each row is a process of its own, twice: it opens its index, searches once, then all queries twice, of which the second
time counts. first: from the start of the process to the first result, in the second process, its files in memory.
recall: the share of the ten best that exact search over float32 vectors finds too, by the same views. cpu: of all
threads, for a search. private: anonymous memory after the searches. built: documents a second, compaction included, the
time of making the documents not. A peer gets the least work, of those in WORK, with which its recall is .99.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common import options, regime, report, require, table, write_results
from .engines import ENGINES
from .reader import save_queries
from .variants import Variants, encode_texts

CANDIDATES, HITS = 100, 10
SPARSE_WEIGHT = 0.3  # m3rt's default, dense scores counting 1
M3RT: Mapping[str, dict[str, Any]] = {
    "dense + sparse": {},
    "dense": {"mode": "dense"},
    "dense, exact": {"mode": "dense", "exact": True},
    "sparse": {"mode": "sparse"},
}
WORK: Mapping[str, list[dict[str, Any]]] = {
    "lancedb": [{"probes": probes, "refined": refined} for probes in (20, 60, 180) for refined in (5, 20)],
    "faiss": [{"probes": probes} for probes in (4, 16, 64, 256)],
    "usearch": [{"candidates": candidates} for candidates in (64, 128, 256, 512, 1024, 2048)],
}
_RECALL = 0.99
_ROUNDING = 1e-6


def main() -> None:
    args = _arguments()
    require(*(package for peer in args.peers for package in ENGINES[peer].packages))
    args.work.mkdir(parents=True, exist_ok=True)
    encoded = args.work / "texts.npz"
    if not encoded.exists():
        encode_texts(args.texts, args.real, encoded)
    corpus = Variants(encoded, args.documents, args.queries)
    save_queries(args.work / "queries.npz", [corpus.query(i) for i in range(args.queries)])
    exact = _exact(args.work / f"exact-{args.documents}-{args.queries}.json", corpus)
    built = {
        engine: _built(args.work / f"{engine}-{args.documents}", engine, corpus) for engine in ("m3rt", *args.peers)
    }
    if args.build:
        return
    rows = []
    for name, search in M3RT.items():
        rows.append(_row(args.work, "m3rt", name, search, exact, args.documents, built))
    for peer in args.peers:
        for work in WORK[peer]:
            row = _row(args.work, peer, "dense", work, exact, args.documents, built)
            if float(row["recall"]) >= _RECALL:
                break
        rows.append(row)
    conditions = regime(documents=args.documents, real_texts=corpus.texts, queries=args.queries, dim=1024)
    report("A million documents", rows, conditions)
    if args.out:
        facts = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
        page = f"# A million documents\n\n{table(rows)}\n\n{facts}"
        write_results(args.out, page, {"conditions": conditions, "rows": rows})


def _built(folder: Path, engine: str, corpus: Variants) -> float:
    """Build an index unless a run before did; returns documents a second."""
    rate = folder.parent / f"{folder.name}.rate"
    if not rate.exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
        rate.write_text(str(corpus.documents / ENGINES[engine].build(folder, corpus)))
    return float(rate.read_text())


def _row(
    work: Path, engine: str, name: str, search: Mapping[str, Any], exact: Mapping[str, list[list[int]]],
    documents: int, built: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    for _ in range(2):
        call = {
            "engine": engine, "folder": str(work / f"{engine}-{documents}"), "queries": str(work / "queries.npz"),
            "options": search, "started": time.time(),
        }  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.search.reader", json.dumps(call)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    wanted = exact[name.partition(",")[0]]
    recall = np.mean([min(HITS, len({*a} & {*b})) / HITS for a, b in zip(found["found"], wanted, strict=True)])
    return {
        "search": f"{engine} {name}",
        "work": ", ".join(f"{option} {value}" for option, value in search.items() if option != "mode"),
        **{f"p{p} ms": f"{1e3 * np.percentile(found['seconds'], p):.1f}" for p in (50, 95)},
        "cpu ms": f"{1e3 * found['cpu']:.1f}",
        "recall": f"{recall:.3f}",
        "first s": f"{found['first']:.2f}",
        "of it cpu": f"{found['first_cpu']:.2f}",
        "private MB": round(found["private"] / 1e6),
        "built/s": round(built[engine]),
    }


def _exact(path: Path, corpus: Variants) -> dict[str, list[list[int]]]:
    """The documents that may be among the ten best of each query, by plain numpy over float32; kept in a file."""
    if not path.exists():
        results: dict[str, list[list[int]]] = {"dense": [], "sparse": [], "dense + sparse": []}
        for dense, sparse in zip(*corpus.exact(), strict=True):
            first = [_best(scores, CANDIDATES) for scores in (dense, sparse)]
            union = np.unique(np.concatenate(first))
            both = union[_as_good(dense[union] + SPARSE_WEIGHT * sparse[union])]
            for name, documents in zip(results, (_as_good(dense), _as_good(sparse), both), strict=True):
                results[name].append(documents.tolist())
        path.write_text(json.dumps(results))
    found: dict[str, list[list[int]]] = json.loads(path.read_text())
    return found


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    return np.argpartition(-scores, k)[:k]


def _as_good(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The ten best, and others with the score of the tenth: several texts are equal."""
    return np.flatnonzero(scores >= np.partition(scores, -HITS)[-HITS] - _ROUNDING)


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--real", type=int, default=60_000)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--peers", nargs="*", default=[], choices=list(WORK))
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
