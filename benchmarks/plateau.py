"""Memory over many calls of random shapes: what grows with the number of calls, and nothing may.

    python benchmarks/plateau.py BUNDLE [--calls 10000] [--longest 512] [--threads N]

A call is 1 to 8 texts of 1 to --longest tokens. Memory is resident without the mapped weights where Linux tells
them apart. A cheap run: a bundle of few layers or a smaller --longest.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import psutil
from common import regime, report
from tqdm import tqdm

from m3rt import M3Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.calls < 10:
        raise SystemExit(f"--calls is {args.calls}, expected at least 10")
    model = M3Encoder(args.bundle, device="cpu", engine=args.engine, threads=args.threads)
    draw, process = random.Random(args.seed), psutil.Process()
    mark = min(1000, args.calls // 10)
    after, tokens, highest = 0, 0, 0
    start = time.perf_counter()
    for call in tqdm(range(1, args.calls + 1), unit="calls"):
        longest = draw.randint(1, args.longest)
        texts = ["word " * draw.randint(1, longest) for _ in range(draw.randint(1, 8))]
        out = model.encode(texts, max_length=max(3, longest), return_sparse=call % 2 == 0)
        tokens += int(out.n_tokens.sum())
        resident = process.memory_info().rss
        highest = max(highest, resident)
        if call == mark:
            after = resident
    row = {
        "calls": args.calls,
        "tokens/s": round(tokens / (time.perf_counter() - start)),
        f"RSS MB after {mark:,}": round(after / 1e6, 1),
        "RSS MB at the end": round(resident / 1e6, 1),
        "highest": round(highest / 1e6, 1),
        "growth": f"{resident / after - 1:+.2%}",
    }
    report("Memory over calls", [row], regime(bundle=args.bundle.name, longest=args.longest))


if __name__ == "__main__":
    main()
