"""Memory of M3Encoder.stream over a million short texts from a generator.

    python benchmarks/stream.py BUNDLE [--count 1000000]

Use a small bundle: the point is what grows with the number of texts, and nothing may.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import psutil
from common import regime, report
from tqdm import tqdm

from m3rt import M3Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    args = parser.parse_args()
    model = M3Encoder(args.bundle, device="cpu")
    texts = (f"short text number {i} of many" for i in range(args.count))
    start, done, tokens = time.perf_counter(), 0, 0
    memory: dict[int, float] = {}
    with tqdm(total=args.count, unit="texts") as bar:
        for out in model.stream(texts, return_sparse=True):
            done += len(out)
            tokens += int(out.n_tokens.sum())
            bar.update(len(out))
            for mark in (10_000, 100_000, args.count):
                if done >= mark and mark not in memory:
                    memory[mark] = psutil.Process().memory_info().rss / 1e6
    seconds = time.perf_counter() - start
    row = {
        "texts": done,
        "texts/s": round(done / seconds),
        "tokens/s": round(tokens / seconds),
        **{f"RSS MB at {n:,}": round(mb) for n, mb in memory.items()},
    }
    report("Stream", [row], regime(bundle=args.bundle.name))


if __name__ == "__main__":
    main()
