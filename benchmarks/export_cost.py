"""Seconds, peak memory and size of an export, each precision in a fresh process.

    python benchmarks/export_cost.py CHECKPOINT OUT [--precision int8 fp32 fp16] [--dense-only]

Leaves the bundles at OUT/NAME-PRECISION for the other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import regime, report

_EXPORT = """
import resource, time
from m3rt_export import export
start = time.perf_counter()
bundle = export({source!r}, {out!r}, precision={precision!r}, dense_only={dense_only})
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print([time.perf_counter() - start, peak / 1e6, bundle.size() / 1e6])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--precision", nargs="+", default=["int8", "fp32", "fp16"])
    parser.add_argument("--dense-only", action="store_true")
    args = parser.parse_args()
    weights = sum(p.stat().st_size for p in args.checkpoint.glob("*") if p.suffix in (".bin", ".pt", ".safetensors"))
    rows = []
    for precision in args.precision:
        out = args.out / f"{args.checkpoint.name}-{precision}"
        script = _EXPORT.format(
            source=str(args.checkpoint), out=str(out), precision=precision, dense_only=args.dense_only
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        seconds, peak, size = json.loads(done.stdout)
        rows.append(
            {
                "precision": precision,
                "checkpoint MB": round(weights / 1e6),
                "bundle MB": round(size, 1),
                "seconds": round(seconds, 1),
                "peak RSS GB": round(peak, 2),
            }
        )
    report("Export", rows, regime(checkpoint=args.checkpoint.name))


if __name__ == "__main__":
    main()
