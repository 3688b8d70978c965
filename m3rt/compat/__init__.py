"""FlagEmbedding's BGEM3FlagModel and FlagReranker on m3rt bundles: the same calls and outputs, no PyTorch."""

from .model import BGEM3FlagModel
from .reranker import FlagReranker

__all__ = ["BGEM3FlagModel", "FlagReranker"]
