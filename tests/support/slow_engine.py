"""An engine whose passes wait for the test."""

import threading

import numpy as np
from numpy.typing import NDArray

from m3rt import EngineError
from m3rt.engines import Engine, Heads, Outputs


class Slow:
    """Runs another engine's passes while it is open."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.device, self.threads = engine.name, engine.device, engine.threads
        self.batch_tokens, self.pass_tokens = engine.batch_tokens, engine.pass_tokens
        self.parallel_passes = engine.parallel_passes
        self._engine = engine
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.passes = 0
        self.broken = False

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], heads: Heads) -> Outputs:
        self.passes += 1
        self.entered.release()
        assert self.open.wait(60)
        if self.broken:
            raise EngineError("no memory")
        return self._engine.run(input_ids, attention_mask, heads)


def closed(engine: Slow) -> None:
    """From now on passes wait."""
    while engine.entered.acquire(blocking=False):
        pass
    engine.open.clear()
