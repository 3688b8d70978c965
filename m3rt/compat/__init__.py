"""FlagEmbedding's BGEM3FlagModel on a m3rt bundle: the same calls, the same outputs, no PyTorch."""

from .model import BGEM3FlagModel

__all__ = ["BGEM3FlagModel"]
