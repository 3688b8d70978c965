"""Export BGE-M3 once, run it anywhere: dense, sparse and ColBERT embeddings without PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .embeddings import Embeddings, MultiVectors, SparseVectors
    from .encoder import M3Encoder
    from .errors import (
        BundleError,
        CheckpointError,
        DeadlinePassed,
        DeviceMissing,
        EngineError,
        EngineMissing,
        HybridIndexError,
        InputError,
        M3rtError,
        OutputError,
        QueueFull,
    )
    from .index import Hit, HybridIndex, SearchResult
    from .relevance import Ranked, Scores
    from .reranker import M3Reranker
    from .scoring import colbert_score, lexical_matching_score

_HOME = {
    "BundleError": ".errors",
    "CheckpointError": ".errors",
    "DeadlinePassed": ".errors",
    "DeviceMissing": ".errors",
    "Embeddings": ".embeddings",
    "EngineError": ".errors",
    "EngineMissing": ".errors",
    "Hit": ".index",
    "HybridIndex": ".index",
    "HybridIndexError": ".errors",
    "InputError": ".errors",
    "M3Encoder": ".encoder",
    "M3Reranker": ".reranker",
    "M3rtError": ".errors",
    "MultiVectors": ".embeddings",
    "OutputError": ".errors",
    "QueueFull": ".errors",
    "Ranked": ".relevance",
    "Scores": ".relevance",
    "SearchResult": ".index",
    "SparseVectors": ".embeddings",
    "colbert_score": ".scoring",
    "lexical_matching_score": ".scoring",
}

__all__ = [
    "BundleError",
    "CheckpointError",
    "DeadlinePassed",
    "DeviceMissing",
    "Embeddings",
    "EngineError",
    "EngineMissing",
    "Hit",
    "HybridIndex",
    "HybridIndexError",
    "InputError",
    "M3Encoder",
    "M3Reranker",
    "M3rtError",
    "MultiVectors",
    "OutputError",
    "QueueFull",
    "Ranked",
    "Scores",
    "SearchResult",
    "SparseVectors",
    "__version__",
    "colbert_score",
    "lexical_matching_score",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import m3rt` stays free."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
