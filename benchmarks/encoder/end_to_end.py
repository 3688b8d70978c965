"""Texts in, arrays out, beside the same batches through the bare engine.

    python -m benchmarks.encoder.end_to_end BUNDLE --texts TEXTS.jsonl [--engine ENGINE] [--count 2000]

The bare engine gets batches that are tokenized, sorted and padded beforehand. Both run in turn over slices of
the texts, so that a slow moment of the machine hits both. Padding waste is padded positions over all positions.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from m3rt import M3Encoder
from m3rt.batching.plan import plan
from m3rt.bundle import open_bundle
from m3rt.engines import Heads, load_engine
from m3rt.text.tokenizer import Tokenizer

from ..common import draw_texts, options, regime, report


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--slice", type=int, default=500, help="number of texts of one turn")
    args = parser.parse_args()
    bundle = open_bundle(args.bundle)
    engine = load_engine(bundle, engine=args.engine, device="cpu")
    model = M3Encoder.with_engine(bundle, engine)
    tokenizer = Tokenizer.of(bundle)
    texts = draw_texts(args.texts, args.count)
    model.encode(texts[:8])
    bare = whole = 0.0
    tokens = padded = 0
    for start in tqdm(range(0, len(texts), args.slice), desc="slices"):
        part = texts[start : start + args.slice]
        ids = tokenizer.encode(part, args.max_length)
        batches = [
            ids.padded(rows, bundle.manifest.special_tokens.pad)
            for rows in plan(ids.lengths, engine.batch_tokens, engine.pass_tokens)
        ]
        tokens += len(ids.ids)
        padded += sum(x.size for x, _ in batches)
        began = time.perf_counter()
        for x, mask in batches:
            engine.run(x, mask, Heads())
        bare += time.perf_counter() - began
        began = time.perf_counter()
        model.encode(part, max_length=args.max_length)
        whole += time.perf_counter() - began
    rows = [
        {
            "texts": len(texts),
            "tokens": tokens,
            "end to end tokens/s": round(tokens / whole),
            "bare engine tokens/s": round(tokens / bare),
            "share": f"{bare / whole:.1%}",
            "padding waste": f"{1 - tokens / padded:.2%}",
        }
    ]
    lengths = np.array([min(args.max_length, n) for n in ids.lengths])
    report(
        "End to end",
        rows,
        regime(
            bundle=args.bundle.name, engine=engine.name, max_length=args.max_length, last_median=int(np.median(lengths))
        ),
    )


if __name__ == "__main__":
    main()
