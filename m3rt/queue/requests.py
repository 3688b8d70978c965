"""What a caller waits for: tokens of texts on their way through the engine, and the future of their embeddings."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from ..batching.collect import Collector
from ..batching.work import Work
from ..bundle.heads import Heads
from ..bundle.manifest import Manifest
from ..embeddings import Embeddings
from ..engines import Outputs


class Request:
    """One caller's texts; equal to itself alone. Passes in several threads may answer parts of it.

    deadline: of time.monotonic(); later the request is not continued.
    """

    def __init__(self, work: Work, deadline: float | None) -> None:
        self.work, self.deadline = work, deadline
        self.future: Future[Embeddings] = Future()
        self._left = len(work.tokens.truncated)
        self._collector: Collector | None = None
        self._lock = threading.Lock()

    def ids(self, row: int) -> NDArray[np.int32]:
        """The token ids of one of its texts: a view."""
        tokens = self.work.tokens
        return tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]]

    def add(self, manifest: Manifest, rows: NDArray[np.int64], mask: NDArray[np.int64], out: Outputs) -> None:
        """Take the outputs of some rows, their own alone; the last ones complete the future."""
        with self._lock:
            if self._collector is None:  # as late as that: thousands may wait
                self._collector = Collector(manifest, self.work.tokens, self.work.heads)
            self._collector.add(rows, mask, out)
            self._left -= len(rows)
            if not (self._left or self.future.done()):
                embeddings = self._collector.embeddings(self.work.format)  # it may fail, and then fail() must work
                if self.future.set_running_or_notify_cancel():
                    self.future.set_result(embeddings)

    def fail(self, error: BaseException) -> None:
        """End with an error, unless the caller has gone or has an answer."""
        with self._lock:
            if not self.future.done() and self.future.set_running_or_notify_cancel():
                self.future.set_exception(error)


def part(out: Outputs, rows: slice, heads: Heads) -> Outputs:
    """Views of what a pass gave for some of its rows, of some heads alone."""
    return Outputs(
        dense=out.dense[rows] if heads.dense and out.dense is not None else None,
        token_weights=out.token_weights[rows] if heads.sparse and out.token_weights is not None else None,
        colbert=out.colbert[rows] if heads.colbert and out.colbert is not None else None,
    )
