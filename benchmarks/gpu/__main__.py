"""Everything that a card must show, in one command, each step with its time; one that fails does not stop the others.

    python -m benchmarks.gpu WORK [--tiny] [--seconds 540]

Makes checkpoints in BGE-M3's shape with random weights, exports them, and runs fidelity, peers, tune and bench. WORK
keeps what was made, so that a second run goes on. --tiny takes small checkpoints: M3RT_DEVICE=cpu with it tries every
step without a card.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from ..common import options
from .peer_models import DEVICE, HALF

_SMALL = ["--shapes", "1x16", "8x64", "--queries", "100", "--repeats", "2", "--mixed", "16x64", "--longest", "2x128"]
_TINY = ["--layers", "2", "--hidden", "128", "--ffn", "256"]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seconds", type=float, default=540.0, help="of peers, which takes what the others leave")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu"))
    args = parser.parse_args()
    began, work, shape = time.monotonic(), args.work, _TINY if args.tiny else []
    checkpoint, reranker = work / "checkpoint", work / "reranker"
    precision = "fp16" if HALF else "fp32"
    bundles = [work / f"{folder.name}-{precision}" for folder in (checkpoint, reranker)]
    make = "benchmarks.inputs.make_checkpoint"
    if not checkpoint.exists():
        _run(make, checkpoint, *shape)
    if not reranker.exists():
        _run(make, reranker, "--reranker", *shape)
    for source, bundle in zip((checkpoint, reranker), bundles, strict=True):
        if not bundle.exists():
            _run("m3rt", "export", source, bundle, "--precision", precision)
    _run("benchmarks.gpu.fidelity", checkpoint, bundles[0])
    small = _SMALL if args.tiny else []
    _run("benchmarks.gpu.peers", "--checkpoint", checkpoint, "--reranker", reranker, "--work", work,
         "--m3rt", bundles[0], "--m3rt", bundles[1], "--out", args.out, *small,
         "--seconds", max(60.0, args.seconds - (time.monotonic() - began)))  # fmt: skip
    _run("m3rt", "tune", bundles[0], "--device", DEVICE, "--seconds", 20)
    _run("m3rt", "bench", bundles[0], "--device", DEVICE, "--quick")


def _run(module: str, *arguments: object) -> None:
    start = time.monotonic()
    print(f"== {module} {' '.join(map(str, arguments))}", flush=True)
    status = subprocess.run([sys.executable, "-m", module, *map(str, arguments)]).returncode
    print(f"== {time.monotonic() - start:.0f} s, status {status}", flush=True)


if __name__ == "__main__":
    main()
