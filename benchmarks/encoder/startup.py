"""The steps of a start, and peak memory for a long text: each run in a fresh process, page cache warm.

    python -m benchmarks.encoder.startup BUNDLE [--engine ENGINE] [--repeats 5] [--longest 8192]

M3RT_TUNE=0 measures a bundle as it is loaded on a machine without a profile of `m3rt tune`. The peak is the highest
RSS, mapped weights included (VmHWM). Linux only.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from ..common import options, regime, report, run_fresh

_START = """
import sys, time; t0 = time.perf_counter()
from m3rt import M3Encoder; t1 = time.perf_counter()
model = M3Encoder(sys.argv[1], device="cpu", engine=sys.argv[2]); t2 = time.perf_counter()
model.encode("What is BGE M3?"); t3 = time.perf_counter()
print([t1 - t0, t2 - t1, t3 - t2])
"""
_LONG = """
import m3rt, sys, time
from m3rt.tuning.speed import memory
model = m3rt.M3Encoder(sys.argv[1], device="cpu", engine=sys.argv[2])
start = time.perf_counter()
out = model.encode("word " * 12000, max_length=int(sys.argv[3]))
seconds = time.perf_counter() - start
print([memory()["peak"], seconds, int(out.n_tokens[0])])
"""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--longest", type=int, default=8192)
    args = parser.parse_args()
    runs = [run_fresh(_START, args.bundle, args.engine) for _ in range(args.repeats + 1)][1:]
    steps = [statistics.median(times) for times in zip(*runs, strict=True)]
    peak, seconds, tokens = run_fresh(_LONG, args.bundle, args.engine, args.longest)
    row = {
        "import s": f"{steps[0]:.3f}",
        "load s": f"{steps[1]:.3f}",
        "first encode s": f"{steps[2]:.3f}",
        f"peak RSS GB, one text of {tokens} tokens": f"{peak / 1e9:.2f}",
        "seconds for it": f"{seconds:.1f}",
    }
    report("Start and memory", [row], regime(bundle=args.bundle.name, engine=args.engine, repeats=args.repeats))


if __name__ == "__main__":
    main()
