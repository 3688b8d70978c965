"""From an empty shell to the first embedding, and the memory of a loaded model, private and shared.

    python -m benchmarks.encoder.cold_start BUNDLE [--engine ENGINE] [--repeats 5]

The whole command line process is timed, interpreter included, page cache warm. Memory is measured of three processes
started one after the other, a number for each, from /proc/PID/smaps_rollup: anonymous memory, which nothing can share;
RSS, with the mapped weights; and the growth of the machine's memory, which is the sum of all proportional shares with
this process minus the sum without it. A profile of `m3rt tune` is used; M3RT_TUNE=0 measures without. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from ..common import memory_of, options, regime, report, spread

PROCESS_COUNT = 3
COLUMNS = ("anonymous MB after load", "after the first query", "RSS MB", "adds to the machine MB")
_HOLD = """
import sys
from m3rt import M3Encoder
model = M3Encoder(sys.argv[1], device="cpu", engine=sys.argv[2])
print("loaded", flush=True)
for line in sys.stdin:
    model.encode(line)
    print("encoded", flush=True)
"""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    row = {
        "first embedding ms": spread(_first_embedding(args)),
        **{name: ", ".join(f"{size / 1e6:.0f}" for size in sizes) for name, sizes in _memory(args).items()},
    }
    report("Cold start", [row], regime(bundle=args.bundle.name, engine=args.engine, repeats=args.repeats))


def _first_embedding(args: argparse.Namespace) -> list[float]:
    """Return the seconds of each run after the first, which warms the page cache."""
    command = [str(Path(sys.executable).with_name("m3rt")), "encode", "-m", str(args.bundle), "--device", "cpu"]
    command += ["--engine", args.engine, "What is BGE M3?"]
    seconds = []
    for _ in range(args.repeats + 1):
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit(f"no embedding from: {' '.join(command)}")
            seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _memory(args: argparse.Namespace) -> dict[str, list[int]]:
    """Return the bytes of each column, one for each process."""
    processes: list[subprocess.Popen[str]] = []
    taken: dict[str, list[int]] = {name: [] for name in COLUMNS}
    for _ in range(PROCESS_COUNT):
        before = sum(memory_of(process.pid)["Pss"] for process in processes)
        processes.append(process := _load(args))
        loaded = memory_of(process.pid)
        _encode(process)
        used = memory_of(process.pid)
        adds = sum(memory_of(process.pid)["Pss"] for process in processes) - before
        for name, size in zip(COLUMNS, (loaded["Anonymous"], used["Anonymous"], used["Rss"], adds), strict=True):
            taken[name].append(size)
    for process in processes:
        process.communicate()
    return taken


def _load(args: argparse.Namespace) -> subprocess.Popen[str]:
    """Start a process that holds the loaded model until its stdin ends."""
    command = [sys.executable, "-P", "-c", _HOLD, str(args.bundle), args.engine]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit(f"{args.bundle} does not load with engine {args.engine}: its error is above")
    return process


def _encode(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("What is BGE M3?\n")
    process.stdin.flush()
    process.stdout.readline()


if __name__ == "__main__":
    main()
