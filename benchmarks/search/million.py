"""Search among a million documents: HybridIndex in a fresh process, and vector and lexical indexes beside it.

    python -m benchmarks.search.million --work DIR --texts FILE [--documents 1000000] [--peers lancedb bm25s] [--out PREFIX]

variants.py describes the corpus. --texts: a JSON-lines file with a "text" field; DIR keeps its embeddings, the exact
results and every index, about 7 GB, for the next run. Each row of the table is a process of its own, which opens its
index, searches once, then all queries twice; the second time counts. recall: the share of the ten best that exact
search over float32 vectors finds too, of the same view. private: anonymous memory after the queries. build: documents
a second, the time to make the documents not counted.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from m3rt import HybridIndex

from ..common import options, regime, report, run_fresh, table, write_results
from .variants import Variants, encode_texts

CANDIDATES, HITS = 100, 10
WEIGHTS = (1.0, 0.3)  # of dense and sparse scores, m3rt's defaults
SEARCHES = {
    "m3rt dense + sparse": {"kind": "m3rt"},
    "m3rt dense": {"kind": "m3rt", "mode": "dense"},
    "m3rt dense, exact": {"kind": "m3rt", "mode": "dense", "exact": True},
    "m3rt sparse": {"kind": "m3rt", "mode": "sparse"},
}
_FRESH = "import sys; from benchmarks.search.million_searches import run; run(*sys.argv[1:])"


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    encoded = args.work / "texts.npz"
    if not encoded.exists():
        encode_texts(args.texts, args.real, encoded)
    corpus = Variants(encoded, args.documents, args.queries)
    searches: dict[str, dict[str, Any]] = {**SEARCHES, **{peer: {"kind": peer} for peer in args.peers}}
    rates = {kind: _built(kind, args.work, corpus) for kind in dict.fromkeys(s["kind"] for s in searches.values())}
    exact = _exact(args.work / f"exact-{args.documents}.json", corpus)
    rows = []
    for name, search in searches.items():
        arguments = json.dumps(search), args.work, args.documents, args.queries
        first, *_ = (run_fresh(_FRESH, *arguments) for _ in range(2)), None
        _, found = first
        rows.append(_row(name, found, exact, rates[search["kind"]]))
    conditions = regime(documents=args.documents, texts=corpus.texts, queries=args.queries, dim=1024)
    report("A million documents", rows, conditions)
    if args.out:
        facts = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
        page = f"# A million documents\n\n{table(rows)}\n\n{facts}"
        write_results(args.out, page, {"conditions": conditions, "rows": rows})
