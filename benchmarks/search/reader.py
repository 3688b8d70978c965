"""One row of million.py in a process of its own: open an index, search, print times, memory and results as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from m3rt import Embeddings, SparseVectors

from ..common import memory_of
from .engines import ENGINES


def run(engine: str, folder: str, queries: str, options: dict[str, Any], started: float) -> dict[str, Any]:
    """Search all queries twice; `started`: the time at which the process was started, as time.time() gives it."""
    texts = _queries(Path(queries))
    search = ENGINES[engine].open(Path(folder), options)
    search(texts[0])
    first, cpu = time.time() - started, time.process_time()
    seconds: list[float] = []
    for _ in range(2):
        found = []
        for query in texts:
            start = time.perf_counter()
            found.append(search(query))
            seconds.append(time.perf_counter() - start)
    used = (time.process_time() - cpu) / len(seconds)
    memory = memory_of(os.getpid())
    return {
        "first": first, "first_cpu": cpu, "seconds": seconds[len(texts) :], "cpu": used, "found": found,
        "private": memory["Anonymous"],
    }  # fmt: skip


def save_queries(path: Path, queries: list[Embeddings]) -> None:
    rows = [query.sparse for query in queries if query.sparse is not None]
    np.savez(
        path, dense=np.concatenate([query.dense_vecs for query in queries if query.dense_vecs is not None]),
        lengths=[len(row.indices) for row in rows], indices=np.concatenate([row.indices for row in rows]),
        values=np.concatenate([row.values for row in rows]),
    )  # fmt: skip


def _queries(path: Path) -> list[Embeddings]:
    with np.load(path) as arrays:
        dense, ends = arrays["dense"], np.cumsum(arrays["lengths"])
        ids, values = np.split(arrays["indices"], ends[:-1]), np.split(arrays["values"], ends[:-1])
    rows = [SparseVectors(np.array([0, len(i)]), i, v) for i, v in zip(ids, values, strict=True)]
    none = np.zeros(1, np.bool_)
    return [Embeddings(dense[i : i + 1], row, None, np.array([3]), none) for i, row in enumerate(rows)]


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
