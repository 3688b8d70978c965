"""One peer in a process of its own: JSON requests on stdin, JSON answers on stdout. peer_process.py starts it.

Libraries that print to stdout reach stderr instead, so that answers stay apart. Nothing is imported that the peer does
not import, as its memory is measured.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    task = json.loads(sys.argv[1])
    try:
        answer(_start(task))
        for line in sys.stdin:
            answer(_call(json.loads(line)))
    except Exception as error:  # a peer may raise anything; the report has one line of it
        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


_calls: dict[str, Any] = {}
_rates: Any = None


def _start(task: dict[str, Any]) -> dict[str, Any]:
    if task["peer"] == "gemm":
        global _rates
        from .kernels.gemm import rates

        _rates = lambda: rates(task["threads"], calls=3)  # noqa: E731
        return {"calls": [], "versions": {}}
    models = importlib.import_module(task["models"])  # a table of peers: its PEERS, and m3rt() for a bundle
    material = models.Material(Path(task["checkpoint"]), Path(task["lite"]), Path(task["work"]), task["threads"])
    peer = models.m3rt(task["m3rt"]) if task["m3rt"] else models.PEERS[task["peer"]]
    if task["prepare"]:
        peer.prepare(material)
    else:
        _calls.update(peer.load(material))
    return {"calls": list(_calls)}


def _call(request: dict[str, Any]) -> dict[str, Any]:
    if _rates:
        return {"rates": _rates()}
    call, texts, length = _calls[request["call"]], request["texts"], request["length"]
    output, count = None, request["inner"]
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        output = call(texts, length)
    seconds = {"seconds": (time.perf_counter() - start) / count, "cpu_seconds": (time.process_time() - cpu) / count}
    if request["save"]:
        np.save(request["save"], np.asarray(output, np.float32))
    return seconds


if __name__ == "__main__":
    main()
