"""An encoder whose passes take turns with those of everybody else."""

from __future__ import annotations

from typing import Any

from ..embeddings import Embeddings
from ..encoder import M3Encoder
from ..queue import Queue


class Turns(M3Encoder):
    """The same model; encode() goes through a queue, for indexes that embed the documents that they get."""

    def __init__(self, encoder: M3Encoder, queue: Queue) -> None:
        vars(self).update(vars(encoder))  # its tokenizer and its engine, which are large
        self.queue = queue

    def encode(self, texts: Any, *, show_progress: Any = False, **options: Any) -> Embeddings:
        """As M3Encoder.encode(), without progress. What was admitted as a request is not refused in its middle."""
        return self.queue.submit(self.prepare(texts, **options), bounded=False).result()
