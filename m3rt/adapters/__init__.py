"""Where vectors go: databases, frameworks and engines of many machines.

A module for each of them, named after it; parts/ is what they share. Nothing here is imported by `import m3rt`, and
each module imports its package only where it calls it or derives from it. What turns embeddings into a database's rows
needs numpy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parts.collection import Collection
    from .parts.layout import Layout
    from .parts.loading import Loaded, load, load_index
    from .parts.place import opened
    from .parts.reranker import best, relevance

__all__ = ["Collection", "Layout", "Loaded", "best", "load", "load_index", "opened", "relevance"]

_HOME = {
    "Collection": ".parts.collection",
    "Layout": ".parts.layout",
    "Loaded": ".parts.loading",
    "best": ".parts.reranker",
    "load": ".parts.loading",
    "load_index": ".parts.loading",
    "opened": ".parts.place",
    "relevance": ".parts.reranker",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: adapters of frameworks need none of them."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
