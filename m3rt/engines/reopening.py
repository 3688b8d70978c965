"""An engine that a forked child opens again, since the child has none of its parent's threads."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..bundle.heads import Heads
from ..host import forks
from .base import Engine, Outputs


class Reopening:
    """Runs the engine that `load` opens; each process that uses it opens its own."""

    def __init__(self, load: Callable[[], Engine], batch_tokens: int | None = None) -> None:
        self._load = load
        self._loading = threading.Lock()
        self._engine: Engine | None = None
        engine = self._opened()
        self.name, self.device, self.threads = engine.name, engine.device, engine.threads
        self.parallel_passes = engine.parallel_passes
        self.batch_tokens, self.pass_tokens = batch_tokens or engine.batch_tokens, engine.pass_tokens
        forks.tell(self)

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        heads: Heads,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> Outputs:
        """Run one forward pass. A forked child's first call loads the bundle again and may raise load()'s errors."""
        engine = self._engine or self._opened()
        with forks.native():
            return engine.run(input_ids, attention_mask, heads, token_type_ids)

    def forked(self) -> None:
        """Give up the parent's engine without freeing it, which would wait for its threads."""
        if self._engine is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._engine))
        self._engine, self._loading = None, threading.Lock()

    def _opened(self) -> Engine:
        with self._loading, forks.native():
            if self._engine is None:
                self._engine = self._load()
            return self._engine
