"""Hybrid search in a directory: dense, sparse and ColBERT vectors in memory-mapped segments, no server."""

from .hybrid import HybridIndex
from .incoming import Added
from .search.result import Hit, SearchResult

__all__ = ["Added", "Hit", "HybridIndex", "SearchResult"]
