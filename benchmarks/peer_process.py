"""The calling side of peer_worker.py: a process for each peer, which keeps its model loaded and is asked in turn."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from .common import memory_of

WORKER = f"{__package__}.peer_worker"


class PeerError(Exception):
    """A peer did not load, or failed; the message is one line."""


class Worker:
    """A running peer_worker.py; `calls` are the names it answers to."""

    def __init__(self, peer: str, task: dict[str, Any], log: Any) -> None:
        self.peer, self.dead = peer, False
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, json.dumps(task)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8",
        )  # fmt: skip
        self.calls: list[str] = self._answer()["calls"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # _answer() reports the exit status
        return self._answer()

    def memory(self) -> dict[str, int]:
        """Return the bytes of each kind of memory of the process, as memory_of() names them."""
        return memory_of(self._process.pid)

    def close(self) -> None:
        self.dead = True
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        if not line:
            answer = {"error": f"process ended with exit code {self._process.wait()}"}
        if "error" in answer:
            self.close()
            raise PeerError(answer["error"])
        return answer
