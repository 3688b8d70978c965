"""Indexes over the corpus of variants.py: each is built in a folder, and opened there by a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m3rt import Embeddings, HybridIndex

from .variants import DIM, Variants

Search = Callable[[Embeddings], list[int]]  # the numbers of the ten best documents
_TRAINED_DOCUMENTS = 50_000
_NEIGHBOURS, _BUILDING_CANDIDATES = 16, 128  # of a document in a graph; usearch's defaults


@dataclass(frozen=True)
class Engine:
    """build(folder, corpus) gives its seconds without those of making the corpus; open(folder, options) a search."""

    build: Callable[[Path, Variants], float]
    open: Callable[[Path, Mapping[str, Any]], Search]
    packages: tuple[str, ...] = ()


def _lists(corpus: Variants) -> int:
    """The number of clusters of a peer's index, of the usual size."""
    return round(corpus.documents**0.5)


def _timed(corpus: Variants, add: Callable[[int, Embeddings], object], done: int = 0) -> float:
    seconds = 0.0
    for first, out in corpus.batches(done):
        start = time.perf_counter()
        add(first, out)
        seconds += time.perf_counter() - start
    return seconds


def _build_m3rt(folder: Path, corpus: Variants) -> float:
    index = HybridIndex.create(folder, dim=DIM)
    seconds = _timed(corpus, lambda first, out: index.add(map(str, range(first, first + len(out))), embeddings=out))
    start = time.perf_counter()
    index.compact()
    return seconds + time.perf_counter() - start


def _open_m3rt(folder: Path, options: Mapping[str, Any]) -> Search:
    index = HybridIndex(folder)
    return lambda query: [int(hit.id) for hit in index.search(query, **options)]


def _build_lancedb(folder: Path, corpus: Variants) -> float:
    """A table of float32 vectors with an IVF_PQ index: a code of a byte for each eight dimensions."""
    import lancedb
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        for first, out in corpus.batches():
            assert out.dense_vecs is not None
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(out.dense_vecs.ravel()), DIM)
            ids = pa.array(range(first, first + len(out)), pa.int64())
            yield pa.RecordBatch.from_arrays([ids, vectors], names=["id", "vector"])

    start = time.perf_counter()
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), DIM))])
    table = lancedb.connect(folder).create_table("docs", batches(), schema=schema)
    table.create_index(metric="dot", num_partitions=_lists(corpus), num_sub_vectors=DIM // 8)
    return time.perf_counter() - start


def _open_lancedb(folder: Path, options: Mapping[str, Any]) -> Search:
    import lancedb

    table = lancedb.connect(folder).open_table("docs")

    def search(query: Embeddings) -> list[int]:
        assert query.dense_vecs is not None
        found = table.search(query.dense_vecs[0]).distance_type("dot").nprobes(options["probes"])
        rows = found.refine_factor(options["refined"]).select(["id"]).limit(10).to_arrow()
        return [int(i) for i in rows["id"].to_pylist()]

    return search


def _build_faiss(folder: Path, corpus: Variants) -> float:
    """IVF over codes of 8 bits, in memory."""
    import faiss

    index = faiss.index_factory(DIM, f"IVF{_lists(corpus)},SQ8", faiss.METRIC_INNER_PRODUCT)

    def add(first: int, out: Embeddings) -> None:
        assert out.dense_vecs is not None
        if not index.is_trained:
            index.train(out.dense_vecs[:_TRAINED_DOCUMENTS])
        index.add(out.dense_vecs)

    seconds = _timed(corpus, add)
    folder.mkdir()
    faiss.write_index(index, str(folder / "index.faiss"))
    return seconds


def _open_faiss(folder: Path, options: Mapping[str, Any]) -> Search:
    import faiss

    index = faiss.read_index(str(folder / "index.faiss"), faiss.IO_FLAG_MMAP)
    index.nprobe = options["probes"]
    return lambda query: [int(i) for i in index.search(query.dense_vecs, 10)[1][0]]


def _build_usearch(folder: Path, corpus: Variants) -> float:
    """An HNSW graph over float16 vectors: its int8 codes span the length of a vector, 8 of 256 steps at this width."""
    from usearch.index import Index

    index = Index(ndim=DIM, metric="ip", dtype="f16", connectivity=_NEIGHBOURS, expansion_add=_BUILDING_CANDIDATES)
    seconds = _timed(corpus, lambda first, out: index.add(np.arange(first, first + len(out)), out.dense_vecs))
    folder.mkdir()
    index.save(str(folder / "index.usearch"))
    return seconds


def _open_usearch(folder: Path, options: Mapping[str, Any]) -> Search:
    from usearch.index import Index

    index = Index.restore(str(folder / "index.usearch"), view=True)
    index.expansion_search = options["candidates"]

    def search(query: Embeddings) -> list[int]:
        assert query.dense_vecs is not None
        return [int(key) for key in index.search(query.dense_vecs[0], 10).keys]

    return search


ENGINES = {
    "m3rt": Engine(_build_m3rt, _open_m3rt),
    "lancedb": Engine(_build_lancedb, _open_lancedb, ("lancedb",)),
    "faiss": Engine(_build_faiss, _open_faiss, ("faiss-cpu",)),
    "usearch": Engine(_build_usearch, _open_usearch, ("usearch",)),
}
