"""One peer in a process of its own: JSON requests on stdin, JSON answers on stdout. peer_process.py starts it.

Libraries that print to stdout reach stderr instead, so that answers stay apart. Nothing is imported that the peer does
not import, as its memory is measured.
"""

from __future__ import annotations

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
        from ..kernels.gemm import rates

        _rates = lambda: rates(task["threads"], calls=3)  # noqa: E731
        return {"calls": [], "versions": {}}
    from .peer_models import PEERS, Material, m3rt

    material = Material(Path(task["checkpoint"]), Path(task["lite"]), Path(task["work"]), task["threads"])
    peer = m3rt(task["m3rt"]) if task["m3rt"] else PEERS[task["peer"]]
    if task["prepare"]:
        peer.prepare(material)
    else:
        _calls.update(peer.load(material))
    return {"calls": list(_calls)}


def _call(request: dict[str, Any]) -> dict[str, Any]:
    if _rates:
        return {"rates": _rates()}
    call, texts, length = _calls[request["call"]], request["texts"], request["length"]
    vectors, seconds = None, []
    for _ in range(request["inner"]):
        start = time.perf_counter()
        vectors = call(texts, length)
        seconds.append(time.perf_counter() - start)
    if request["save"]:
        np.save(request["save"], np.asarray(vectors, np.float32))
    return {"seconds": sum(seconds) / len(seconds)}


if __name__ == "__main__":
    main()
