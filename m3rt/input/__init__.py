"""Texts from files and streams: read one at a time, checked, with their ids."""

from .file import TextFile, arguments
from .readers import READERS
from .record import Record, chunks

__all__ = ["READERS", "Record", "TextFile", "arguments", "chunks"]
