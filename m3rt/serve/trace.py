"""What is noted of a request while it is answered: for its log line, its headers and the metrics. Never its texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Trace:
    """One request: its id, the texts and tokens in it, how many texts were cut, and seconds by stage."""

    id: str
    accept: str = ""  # media types that the client takes
    give_up: Callable[[], None] = lambda: None  # the room that was booked in the queue
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - began

    def timing(self) -> str:
        """As the header server-timing, which browsers show."""
        return ", ".join(f"{name};dur={1e3 * seconds:.2f}" for name, seconds in self.stages.items())
