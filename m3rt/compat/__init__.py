"""FlagEmbedding's BGEM3FlagModel over an M3Encoder: the same calls and outputs. The rest of m3rt does not know it."""

from .model import BGEM3FlagModel

__all__ = ["BGEM3FlagModel"]
