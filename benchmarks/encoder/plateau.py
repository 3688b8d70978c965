"""Memory over many calls of random shapes: nothing may grow with the number of calls.

    python -m benchmarks.encoder.plateau BUNDLE [--engine ENGINE] [--calls 10000] [--longest 512] [--threads N]

A call encodes 1 to 8 texts of 1 to --longest tokens. RSS counts the pages of mapped weights that are in memory,
anonymous memory is private to the process. Growth counts from call 1,000, when the shapes have been seen and the caches
are full: the table shows medians of the 100 calls before it and of the last 100, and the highest. The exit status is 1
if anonymous memory grows by 3 % or more. Linux only. A bundle of few layers or a smaller --longest makes a quick run.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import trange

from m3rt import M3Encoder
from m3rt.tuning.speed import memory

from ..common import options, regime, report

KINDS = {"RSS": "rss", "anonymous": "private_anonymous"}  # names of memory()
WARM_CALLS = 1000
MAX_GROWTH_SHARE = 0.03  # of anonymous memory, which only this process can have taken
_MEDIAN_CALLS = 100  # memory differs from call to call


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.calls < 2 * WARM_CALLS:
        raise SystemExit(
            f"--calls is {args.calls}, expected at least {2 * WARM_CALLS:,}: growth counts from call {WARM_CALLS:,}"
        )
    model = M3Encoder(args.bundle, device="cpu", engine=args.engine, threads=args.threads)
    draw, sparse = random.Random(args.seed), model.manifest.kind == "m3"
    taken = {kind: np.full(args.calls, -1) for kind in KINDS}  # filled, so that its pages are taken now
    tokens, start = 0, time.perf_counter()
    for call in trange(args.calls, unit="calls"):
        longest = draw.randint(1, args.longest)
        texts = ["word " * draw.randint(1, longest) for _ in range(draw.randint(1, 8))]
        out = model.encode(texts, max_length=max(3, longest), return_sparse=sparse and call % 2 == 0)
        tokens += int(out.n_tokens.sum())
        now = memory()
        for kind, name in KINDS.items():
            taken[kind][call] = now[name]
    speed = round(tokens / (time.perf_counter() - start))
    rows = [_row(kind, sizes) for kind, sizes in taken.items()]
    conditions = regime(bundle=args.bundle.name, engine=args.engine, calls=args.calls, longest=args.longest)
    report("Memory over calls", rows, {**conditions, "tokens/s": speed})
    if (growth := _growth(taken["anonymous"])) >= MAX_GROWTH_SHARE:
        raise SystemExit(f"anonymous memory grew by {growth:.1%}, expected less than {MAX_GROWTH_SHARE:.0%}")


def _row(kind: str, taken: NDArray[np.int64]) -> dict[str, str]:
    before, after = taken[:WARM_CALLS].max(), taken.max()
    return {
        "MB": kind,
        f"at {WARM_CALLS:,}": f"{_settled(taken[:WARM_CALLS]) / 1e6:.1f}",
        "at the end": f"{_settled(taken) / 1e6:.1f}",
        "growth": f"{_growth(taken):+.2%}",
        f"highest to {WARM_CALLS:,}": f"{before / 1e6:.1f}",
        "highest": f"{after / 1e6:.1f}",
        "growth of the highest": f"{after / before - 1:+.2%}",
    }


def _growth(taken: NDArray[np.int64]) -> float:
    return _settled(taken) / _settled(taken[:WARM_CALLS]) - 1


def _settled(taken: NDArray[np.int64]) -> float:
    return float(np.median(taken[-_MEDIAN_CALLS:]))


if __name__ == "__main__":
    main()
