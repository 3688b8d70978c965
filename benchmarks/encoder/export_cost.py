"""Seconds, peak memory and size of an export, each precision in a fresh process.

    python -m benchmarks.encoder.export_cost CHECKPOINT OUT [--precision int8 fp32 fp16] [--dense-only]

It leaves the bundles at OUT/NAME-PRECISION for the other benchmarks.
"""

from __future__ import annotations

from pathlib import Path

from ..common import options, regime, report, run_fresh

_EXPORT = """
import json, resource, sys, time
from m3rt_export import export
source, out, precision, dense_only = sys.argv[1:]
start = time.perf_counter()
bundle = export(source, out, precision=precision, dense_only=dense_only == "True")
seconds = time.perf_counter() - start
unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print(json.dumps([seconds, peak, bundle.size()]))
"""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--precision", nargs="+", default=["int8", "fp32", "fp16"])
    parser.add_argument("--dense-only", action="store_true")
    args = parser.parse_args()
    weights = sum(p.stat().st_size for p in args.checkpoint.glob("*") if p.suffix in (".bin", ".pt", ".safetensors"))
    rows = []
    for precision in args.precision:
        out = args.out / f"{args.checkpoint.name}-{precision}"
        seconds, peak, size = run_fresh(_EXPORT, args.checkpoint, out, precision, args.dense_only)
        rows.append(
            {
                "precision": precision,
                "checkpoint MB": round(weights / 1e6),
                "bundle MB": round(size / 1e6, 1),
                "seconds": round(seconds, 1),
                "peak RSS GB": round(peak / 1e9, 2),
            }
        )
    report("Export", rows, regime(checkpoint=args.checkpoint.name))


if __name__ == "__main__":
    main()
