"""Many threads score the same documents at once, beside others that allocate: every score is right, or this fails.

Each storage of MaxSim, compiled for each instruction set that the processor has, each set in a process of its own whose
allocator fills what is freed and has one arena for all threads, so that a kernel which uses freed memory is found out.

    python -m benchmarks.kernels.stress --threads 16 --calls 1000

Prints a table, then a line of JSON. Exit status: 0 when all scores are right, 1 otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8
from m3rt_kernels.compiler.isa import TABLE, InstructionSet, host_features, instruction_set
from m3rt_kernels.compiler.jit import eager

from ..common import options

ALLOCATOR = {"MALLOC_PERTURB_": "165", "MALLOC_ARENA_MAX": "1"}
_ROOT = Path(__file__).parents[2]
_MAX_RELATIVE_ERROR = 2e-6  # of float scores, sums of 256 products of unit vectors; integer products are exact


def storages() -> dict[str, Callable[[], Any]]:
    """Return a call for each storage, on the same 100 documents of 20 tokens, whose rows are converted in parts."""
    draw = np.random.default_rng(0)
    query, vectors = (draw.normal(size=(n, 256)).astype(np.float32) for n in (16, 2000))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    offsets, half = np.arange(0, 2001, 20), vectors.astype(np.float16)
    codes, bits = quantize_int8(vectors), pack_bits(vectors)
    return {
        "float32": lambda: maxsim(query, vectors, offsets, threads=1),
        "float16": lambda: maxsim(query, half, offsets, threads=1),
        "int8": lambda: maxsim_int8(query, *codes, offsets, threads=1),
        "bits": lambda: maxsim_binary(query, bits, offsets, threads=1),
    }


def twin(call: Callable[[], Any]) -> Any:
    """Return the scores that the numpy twin gives."""
    module: Any = import_module("m3rt_kernels.late_interaction.maxsim")
    native, module._native = module._native, lambda: None
    try:
        return call()
    finally:
        module._native = native


def stress(call: Callable[[], Any], threads: int, calls: int) -> int:
    """Count the results, of threads * calls, that differ from the twin's."""
    expected, wrong, stop = twin(call), [0] * threads, threading.Event()

    def score(i: int) -> None:
        for _ in range(calls):
            wrong[i] += float(np.abs(call() - expected).max()) > _MAX_RELATIVE_ERROR * np.abs(expected).max() or 0

    def allocate() -> None:
        while not stop.is_set():
            [np.full(size, 7, np.uint8) for size in (64, 1 << 10, 3 << 12, 1 << 17)]
            time.sleep(0)

    workers = [threading.Thread(target=score, args=(i,)) for i in range(threads)]
    others = [threading.Thread(target=allocate) for _ in range(2)]
    for thread in (*others, *workers):
        thread.start()
    for worker in workers:
        worker.join()
    stop.set()
    for other in others:
        other.join()
    return int(sum(wrong))


@eager()
def one_set(threads: int, calls: int) -> None:
    """Print the wrong scores of this process, which has one instruction set."""
    instructions = instruction_set()
    wrong = {storage: stress(call, threads, calls) for storage, call in storages().items()}
    print(json.dumps({"set": instructions and instructions.name, "wrong": wrong}))


def run(row: InstructionSet, threads: int, calls: int) -> dict[str, Any]:
    """Run a process for `row` and return its wrong scores by storage, or how it ended."""
    command = [
        sys.executable,
        "-m",
        f"{__package__}.stress",
        "--threads",
        str(threads),
        "--calls",
        str(calls),
        "--here",
    ]
    environment = os.environ | ALLOCATOR | {"M3RT_ISA": row.name}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"set": row.name, "ended": done.returncode, "stderr": done.stderr[-400:]}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each thread, for each storage")
    parser.add_argument("--here", action="store_true", help="only the instruction set that this process has")
    args = parser.parse_args()
    if args.here:
        one_set(args.threads, args.calls)
        return 0
    print(
        f"{args.threads} threads x {args.calls} calls a storage, {' '.join(f'{k}={v}' for k, v in ALLOCATOR.items())}"
    )
    results = []
    for row in (row for row in TABLE if row.needs <= host_features()):
        start = time.perf_counter()
        results.append(run(row, args.threads, args.calls))
        shown = results[-1].get("wrong") or f"ended with {results[-1]['ended']}"
        print(f"{row.name:12} wrong scores: {shown}, {time.perf_counter() - start:.0f} s", flush=True)
    print(json.dumps({"threads": args.threads, "calls": args.calls, "sets": results}))
    return int(any(r.get("ended") or any(r["wrong"].values()) or r["set"] is None for r in results))


if __name__ == "__main__":
    sys.exit(main())
