"""Hybrid search in a directory: dense, sparse and ColBERT vectors in memory-mapped segments, no server."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .context import Context, Passage
    from .hybrid import HybridIndex
    from .incoming import Added
    from .search.result import Hit, SearchResult

__all__ = ["Added", "Context", "Hit", "HybridIndex", "Passage", "SearchResult"]

_HOME = {
    "Added": ".incoming",
    "Context": ".context",
    "Hit": ".search.result",
    "HybridIndex": ".hybrid",
    "Passage": ".context",
    "SearchResult": ".search.result",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line imports `choices` without the rest."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
