"""An index of random documents, and its files as they are and as the manifest names them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus import DIM, documents, embeddings

from m3rt import HybridIndex

NAMES = [f"doc-{i}" for i in range(30)]


DOCS = documents(30)


def create(path: Path, **options: Any) -> HybridIndex:
    return HybridIndex.create(path, dim=DIM, **{"colbert": "int8", **options})


def add(index: HybridIndex, first: int, last: int, version: str = "one") -> None:
    texts = [f"{version} of {name}" for name in NAMES[first:last]]
    index.add(NAMES[first:last], texts, embeddings=embeddings(DOCS[first:last]))


def contents(index: HybridIndex) -> dict[str, str | None]:
    """Every id and its text, by a search that finds all; each document must be what its own embedding finds first."""
    hits = index.search(embeddings(DOCS[:1]), 1000, mode="dense").hits
    assert len({hit.id for hit in hits}) == len(hits) == len(index)
    for hit in hits[:5]:
        query = embeddings([DOCS[NAMES.index(hit.id)]])
        assert index.search(query, 1, mode="dense")[0].id == hit.id
        assert index.search(query, 1, mode="colbert")[0].id == hit.id
    return {hit.id: hit.text for hit in hits}


def files(path: Path) -> set[str]:
    """All files but the lock, which the first writer makes."""
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} - {".lock"}


def named(path: Path) -> set[str]:
    """The files that the manifest names."""
    manifest = json.loads((path / "index.json").read_text())
    return {"index.json"} | {f"segments/{s['name']}/{name}" for s in manifest["segments"] for name in s["files"]}


CHANGES: dict[str, Callable[[HybridIndex], object]] = {
    "add": lambda index: add(index, 10, 20),
    "replace": lambda index: add(index, 5, 15, "two"),
    "delete": lambda index: index.delete(NAMES[2:7]),
    "compact": lambda index: index.compact(),
}


def two_segments(path: Path) -> Path:
    """Make an index of two segments, one with deletions."""
    index = create(path)
    add(index, 0, 6)
    add(index, 6, 10)
    index.delete([NAMES[1]])
    return path
