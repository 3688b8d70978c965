"""Memory over many calls of random shapes: what grows with the number of calls, and nothing may.

    python benchmarks/plateau.py BUNDLE [--engine ENGINE] [--calls 10000] [--longest 512] [--threads N]

A call is 1 to 8 texts of 1 to --longest tokens. RSS counts the pages of mapped weights that are in memory, anonymous
memory is the process's own. Growth counts from call 1,000, when the shapes have been seen and the caches are full:
medians of the 100 calls before it and of the last 100, and the highest. Exit status 1 when anonymous memory grows by
3 % or more. Linux only. A cheap run: a bundle of few layers, or a smaller --longest.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
from common import memory, regime, report
from numpy.typing import NDArray
from tqdm import trange

from m3rt import M3Encoder

KINDS = {"RSS": "Rss", "anonymous": "Anonymous"}
MARK = 1000
ALLOWED = 0.03  # growth of the memory that nothing but this process could have taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.calls < 2 * MARK:
        raise SystemExit(f"--calls is {args.calls}, expected at least {2 * MARK:,}: growth counts from call {MARK:,}")
    model = M3Encoder(args.bundle, device="cpu", engine=args.engine, threads=args.threads)
    draw, sparse = random.Random(args.seed), model.manifest.kind == "m3"
    taken = {kind: np.full(args.calls, -1) for kind in KINDS}  # written to now, so that noting does not grow
    tokens, start = 0, time.perf_counter()
    for call in trange(args.calls, unit="calls"):
        longest = draw.randint(1, args.longest)
        texts = ["word " * draw.randint(1, longest) for _ in range(draw.randint(1, 8))]
        out = model.encode(texts, max_length=max(3, longest), return_sparse=sparse and call % 2 == 0)
        tokens += int(out.n_tokens.sum())
        now = memory()
        for kind, field in KINDS.items():
            taken[kind][call] = now[field]
    speed = round(tokens / (time.perf_counter() - start))
    rows = [_row(kind, each) for kind, each in taken.items()]
    conditions = regime(bundle=args.bundle.name, engine=args.engine, calls=args.calls, longest=args.longest)
    report("Memory over calls", rows, {**conditions, "tokens/s": speed})
    if (growth := _growth(taken["anonymous"])) >= ALLOWED:
        raise SystemExit(f"anonymous memory grew by {growth:.1%}, expected less than {ALLOWED:.0%}: something is kept")


def _row(kind: str, taken: NDArray[np.int64]) -> dict[str, str]:
    before, after = taken[:MARK].max(), taken.max()
    return {
        "MB": kind,
        f"at {MARK:,}": f"{_settled(taken[:MARK]) / 1e6:.1f}",
        "at the end": f"{_settled(taken) / 1e6:.1f}",
        "growth": f"{_growth(taken):+.2%}",
        f"highest to {MARK:,}": f"{before / 1e6:.1f}",
        "highest": f"{after / 1e6:.1f}",
        "growth of the highest": f"{after / before - 1:+.2%}",
    }


def _growth(taken: NDArray[np.int64]) -> float:
    return _settled(taken) / _settled(taken[:MARK]) - 1


def _settled(taken: NDArray[np.int64]) -> float:
    """The median of the last 100 calls, since memory moves from call to call."""
    return float(np.median(taken[-100:]))


if __name__ == "__main__":
    main()
