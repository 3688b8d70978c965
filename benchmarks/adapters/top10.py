"""The ten best documents of each embedded database beside HybridIndex's, on a labelled data set.

    python -m benchmarks.adapters.top10 DATASET [--model BUNDLE] [--engines qdrant milvus lance postgres]

DATASET is a folder in BEIR's layout, as m3rt eval takes it. One encoding goes into a HybridIndex with dense float32
vectors, and from there into every database. "overlap" is the share of HybridIndex's ten documents that a database finds
too; "unexplained" counts those of the others whose score in HybridIndex is not within 1e-4 of the tenth. A database's
hybrid search is compared with the search of HybridIndex that its documentation names: fusion by ranks of dense and
sparse, or, for LanceDB, the weighted mean of the scores of dense candidates.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from m3rt import Embeddings, HybridIndex, M3Encoder
from m3rt.adapters import Layout, load_index, opened
from m3rt.bundle import DEFAULT
from m3rt.input import TextFile

from ..common import add_threads, options, regime
from .load import PRODUCTS, place_of

_CANDIDATES = 100
_TIE = 1e-4  # a difference of scores that the order of additions makes


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--engines", nargs="+", choices=PRODUCTS, default=list(PRODUCTS))
    parser.add_argument("--queries", type=int, default=200)
    add_threads(parser)
    args = parser.parse_args()
    encoder = M3Encoder(args.model, threads=args.threads)
    with tempfile.TemporaryDirectory(prefix="top10-") as folder:
        index = _index(Path(folder) / "index", encoder, args.dataset)
        texts = [record.text for record in TextFile(str(args.dataset / "queries.jsonl"))][: args.queries]
        queries = [encoder.encode_queries(text, return_sparse=True) for text in texts]
        rows = []
        print("| database | search | overlap | unexplained |\n| --- | --- | --- | --- |")
        for row in (row for engine in args.engines for row in _compared(engine, Path(folder), index, queries)):
            rows.append(row)
            print(f"| {row['engine']} | {row['search']} | {row['overlap']:.4f} | {row['unexplained']} |", flush=True)
    print(json.dumps({**regime(documents=len(index), queries=len(queries)), "rows": rows}))


def _index(path: Path, encoder: M3Encoder, dataset: Path) -> HybridIndex:
    index = HybridIndex.create(path, encoder, dense="float32")
    records = list(TextFile(str(dataset / "corpus.jsonl"), titles=True))
    index.add([str(record.id) for record in records], [record.text for record in records])
    return index


def _compared(engine: str, folder: Path, index: HybridIndex, queries: list[Embeddings]) -> Iterator[Mapping[str, Any]]:
    with ExitStack() as stack:
        place = stack.enter_context(place_of(engine, folder / engine))
        collection: Any = opened(place, "docs", Layout.of_index(index))
        stack.callback(collection.close)
        load_index(collection, index)
        hybrid = {"fusion": (1, 0.3, 0)} if engine == "lance" else {"fusion": "rrf"}
        searches: dict[str, dict[str, Any]] = {
            "dense": {"mode": "dense"},
            "sparse": {"mode": "sparse"},
            "hybrid": {"mode": "hybrid", "candidates": _CANDIDATES, **hybrid},
        }
        for name, wanted in searches.items():
            if (engine, name) != ("lance", "sparse"):
                yield {"engine": engine, "search": name, **_overlap(collection, name, index, wanted, queries)}


def _overlap(
    collection: Any, mode: str, index: HybridIndex, wanted: Mapping[str, Any], queries: list[Embeddings]
) -> dict[str, Any]:
    shared = total = unexplained = 0
    for query in queries:
        more = index.search(query, _CANDIDATES, **wanted)
        scores = {hit.id: hit.score for hit in more}
        best = {hit.id for hit in more.hits[:10]}
        tenth = min((hit.score for hit in more.hits[:10]), default=0.0)
        found = {hit.id for hit in collection.search(query, 10, mode=mode, candidates=_CANDIDATES)}
        shared, total = shared + len(best & found), total + len(best)
        unexplained += sum(scores.get(name, -1.0) < tenth - _TIE for name in found - best)
    return {"overlap": shared / total, "unexplained": unexplained}


if __name__ == "__main__":
    main()
