"""Memory of M3Encoder.stream over a million short texts from a generator.

    python -m benchmarks.encoder.stream BUNDLE [--count 1000000]

Nothing may grow with the number of texts, and a small bundle shows that in less time. Linux only.
"""

from __future__ import annotations

import time
from pathlib import Path

from tqdm import tqdm

from m3rt import M3Encoder
from m3rt.tuning.speed import memory

from ..common import options, regime, report


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    args = parser.parse_args()
    model = M3Encoder(args.bundle, device="cpu")
    texts = (f"short text number {i} of many" for i in range(args.count))
    start, done, tokens = time.perf_counter(), 0, 0
    rss: dict[int, int | None] = {}  # bytes, by number of texts
    with tqdm(total=args.count, unit="texts") as bar:
        for out in model.stream(texts, return_sparse=True):
            done += len(out)
            tokens += int(out.n_tokens.sum())
            bar.update(len(out))
            for mark in (10_000, 100_000, args.count):
                if done >= mark and mark not in rss:
                    rss[mark] = memory()["rss"]
    seconds = time.perf_counter() - start
    row = {
        "texts": done,
        "texts/s": round(done / seconds),
        "tokens/s": round(tokens / seconds),
        **{f"RSS MB at {n:,}": round(size / 1e6) if size else "unknown" for n, size in rss.items()},
    }
    report("Stream", [row], regime(bundle=args.bundle.name))


if __name__ == "__main__":
    main()
