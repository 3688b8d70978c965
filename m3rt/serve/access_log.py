"""The access log: lines of JSON that a thread writes, so that no request waits for whoever reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from queue import Full, Queue
from threading import Thread
from typing import Any, Self

import orjson

_LINES = 10_000  # that may wait; more are dropped
_CLOSE_SECONDS = 2.0  # for the lines that wait when the server ends


class AccessLog:
    """A context manager that writes lines to a file descriptor; lines that find no room are dropped and counted."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: Queue[bytes | None] = Queue(_LINES)
        self._thread = Thread(target=self._run, name="m3rt-log", daemon=True)
        self.dropped = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the thread write what waits, for a moment: a reader that does not read must not keep the process."""
        try:
            self._lines.put(None, timeout=_CLOSE_SECONDS)
        except Full:
            return
        self._thread.join(_CLOSE_SECONDS)

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line; never waits."""
        try:
            self._lines.put_nowait(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        except Full:
            self.dropped += 1

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:  # a pipe may take a part; sys.stdout would hold its lock meanwhile, also when Python ends
                    line = line[os.write(self._descriptor, line) :]
            except OSError:  # a full disk or a closed pipe must not end the server
                self.dropped += 1
