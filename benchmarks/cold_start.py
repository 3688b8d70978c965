"""From an empty shell to the first embedding, and what a loaded model holds: memory of its own and shared.

    python benchmarks/cold_start.py BUNDLE [--engine ENGINE] [--repeats 5]

The whole command line process is timed, interpreter included, page cache warm. Memory is of a process after its first
embedding, from /proc/PID/smaps_rollup: private anonymous memory, and what a second process with the same bundle adds
to the machine (its proportional share, both processes, less the first one alone).
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import regime, report, spread

_HOLD = """
import sys
from m3rt import M3Encoder
model = M3Encoder(sys.argv[1], device="cpu", engine=sys.argv[2])
model.encode("What is BGE M3?")
print("ready", flush=True)
sys.stdin.read()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
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
    first = _hold(args)
    alone = _memory(first.pid)
    second = _hold(args)
    both = [_memory(process.pid) for process in (first, second)]
    for process in (first, second):
        process.communicate()
    row = {
        "first embedding ms": spread(seconds[1:]),
        "median s": f"{statistics.median(seconds[1:]):.3f}",
        "private anonymous MB": round(alone["Anonymous"] / 1e6),
        "RSS MB": round(alone["Rss"] / 1e6),
        "a second process adds MB": round((both[0]["Pss"] + both[1]["Pss"] - alone["Pss"]) / 1e6),
    }
    report("Cold start", [row], regime(bundle=args.bundle.name, engine=args.engine, repeats=args.repeats))


def _hold(args: argparse.Namespace) -> subprocess.Popen[str]:
    """A process that has the model loaded and used, until its stdin ends."""
    command = [sys.executable, "-c", _HOLD, str(args.bundle), args.engine]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit(f"{args.bundle} does not load")
    return process


def _memory(pid: int) -> dict[str, int]:
    """Bytes of each kind of memory of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: 1024 * int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


if __name__ == "__main__":
    main()
