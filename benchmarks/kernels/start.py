"""A fresh process to its first scores, with numba's cache warm: import, MaxSim in int8, the inverted index.

python -m benchmarks.kernels.start [--repeats 9]
"""

from __future__ import annotations

import time

from m3rt_kernels import warm

from ..common import options, regime, report, run_fresh, spread

_SCRIPT = """
import json, time
begin = time.perf_counter()
import numpy as np
seconds = {"import numpy": time.perf_counter() - begin}

def end_of(step):
    seconds[step] = time.perf_counter() - begin - sum(seconds.values())

from m3rt_kernels import InvertedIndex, maxsim_int8, quantize_int8
end_of("import m3rt_kernels")
rows = np.random.default_rng(0).normal(size=(4000, 1024)).astype(np.float32)
codes, scales = quantize_int8(rows)
end_of("vectors made up")
maxsim_int8(rows[:32], codes, scales, np.arange(0, 4001, 40))
end_of("first maxsim_int8")
ids = np.tile(np.arange(8, dtype=np.int32), 1000)
index = InvertedIndex.build(np.arange(0, 8001, 8), ids, np.ones(8000, np.float32))
end_of("first InvertedIndex.build")
index.search(np.arange(4, dtype=np.int32), np.ones(4, np.float32), 10)
end_of("first search")
print(json.dumps(seconds))
"""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    warm()
    seconds: dict[str, list[float]] = {}
    for i in range(repeats + 1):
        begin = time.perf_counter()
        steps = {**run_fresh(_SCRIPT), "the whole process": time.perf_counter() - begin}
        for step, duration in steps.items() if i else ():  # the first process reads files into memory
            seconds.setdefault(step, []).append(duration)
    rows = [{"what": step, "ms, median (range)": spread(durations)} for step, durations in seconds.items()]
    report("Kernels in a fresh process", rows, regime(processes=repeats))


if __name__ == "__main__":
    main()
