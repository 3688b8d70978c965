"""A fresh process to its first scores, with numba's cache warm: import, MaxSim in int8, the inverted index.

python benchmarks/kernels_start.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

from common import regime, report, spread

SCRIPT = """
import json, time
begin = time.perf_counter()
import numpy as np
taken = {"import numpy": time.perf_counter() - begin}

def part(name):
    global begin
    taken[name] = time.perf_counter() - begin - sum(taken.values())

from m3rt_kernels import InvertedIndex, maxsim_int8, quantize_int8
part("import m3rt_kernels")
rows = np.random.default_rng(0).normal(size=(4000, 1024)).astype(np.float32)
codes, scales = quantize_int8(rows)
part("vectors made up")
maxsim_int8(rows[:32], codes, scales, np.arange(0, 4001, 40))
part("first maxsim_int8")
ids = np.tile(np.arange(8, dtype=np.int32), 1000)
index = InvertedIndex.build(np.arange(0, 8001, 8), ids, np.ones(8000, np.float32))
part("first InvertedIndex.build")
index.search(np.arange(4, dtype=np.int32), np.ones(4, np.float32), 10)
part("first search")
print(json.dumps(taken))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {}
    for i in range(repeats + 1):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
        taken = {**json.loads(done.stdout), "the whole process": time.perf_counter() - begin}
        for name, each in taken.items() if i else ():  # the first process fills the cache
            seconds.setdefault(name, []).append(each)
    rows = [{"what": name, "ms, median (range)": spread(taken)} for name, taken in seconds.items()]
    report("Kernels in a fresh process", rows, regime(processes=repeats))


if __name__ == "__main__":
    main()
