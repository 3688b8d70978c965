"""Peers in turn: one call of each is a round, and a round is repeated, so that a slow moment hits all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .common import pause
from .peer_process import PeerError, Worker


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one shape (texts, tokens of each) so far, by call: they grow with every round."""

    shape: tuple[int, int]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)  # of all threads of the peer's process
    outputs: dict[str, Any] = field(default_factory=dict)  # the arrays that the calls returned
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    resident: dict[str, int] = field(default_factory=dict)  # bytes in memory, by process


@dataclass(frozen=True, slots=True)
class Rounds:
    """The request to every peer, how often it is asked, and how often and on how many texts the slow ones are."""

    request: Mapping[str, Any]
    repeats: int
    fewer: Mapping[str, int] = field(default_factory=dict)  # by peer
    cut: Mapping[str, int] = field(default_factory=dict)  # by peer, to so many of the request's texts
    warm_up: bool = True  # a round that does not count comes first

    def run(
        self, measured: Measured, workers: list[Worker], rates: dict[str, float], missing: dict[str, str], scratch: Path
    ) -> Iterator[int]:
        """Ask every call once and yield, `repeats` times after the warm-up; the first round also gives the outputs.

        A peer that fails goes to `missing` and is not asked again.
        """
        batch, length = measured.shape
        first = -1 if self.warm_up else 0
        calls = [(worker, name) for worker in workers for name in worker.calls or ["gemm"]]
        for turn in tqdm(range(first, self.repeats), desc=f"{batch}x{length}"):
            for worker, name in calls:
                if worker.dead or turn >= self.fewer.get(worker.peer, self.repeats):
                    continue
                file = scratch / "output.npy"
                request = {**self.request, "call": name, "save": str(file) if turn == first else ""}
                if worker.peer in self.cut:
                    request["texts"] = request["texts"][: self.cut[worker.peer]]
                pause()
                try:
                    reply = worker.ask(request)
                except PeerError as error:
                    missing[f"{name} at {batch}x{length}"] = str(error)
                    measured.seconds.pop(name, None)
                    continue
                if "rates" in reply:
                    rates.update({kind: max(rate, rates.get(kind, 0)) for kind, rate in reply["rates"].items()})
                    continue
                if turn == first:
                    measured.outputs[name] = np.load(file)
                    measured.seconds[name], measured.cpu_seconds[name] = [], []
                if turn >= 0:
                    measured.seconds[name].append(reply["seconds"])
                    measured.cpu_seconds[name].append(reply["cpu_seconds"])
                    measured.memory[name] = worker.memory()
                    measured.resident[worker.peer] = measured.memory[name]["Rss"]
            if turn >= 0:
                yield turn


def start(
    task: Mapping[str, Any], bundles: Sequence[str], peers: Sequence[str], log: Any
) -> tuple[list[Worker], dict[str, str]]:
    """Return every worker that loads, and why others do not. Models are converted first, each in its own process.

    task: models, the module that holds the table of peers, and the fields of its Material.
    """
    wanted = [(spec, {**task, "peer": "m3rt", "m3rt": spec}) for spec in bundles]
    wanted += [(name, {**task, "peer": name, "m3rt": ""}) for name in peers]
    workers, missing, ready = [], {}, []
    for name, peer_task in tqdm(wanted, desc="prepare"):
        try:
            Worker(name, {**peer_task, "prepare": True}, log).close()
            ready.append((name, peer_task))
        except PeerError as error:
            missing[name] = str(error)
    for name, peer_task in tqdm(ready, desc="load"):
        try:
            workers.append(Worker(name, {**peer_task, "prepare": False}, log))
        except PeerError as error:
            missing[name] = str(error)
    return workers, missing
