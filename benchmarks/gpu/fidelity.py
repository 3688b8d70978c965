"""The error of every view of a bundle on a card: beside FlagEmbedding in float32 on the same card.

    python -m benchmarks.gpu.fidelity CHECKPOINT BUNDLE [--texts T]

T: JSON lines with "text"; by default texts of the benchmark's own words. M3RT_DEVICE=cpu tries it without a card.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..common import options, regime, report, require
from ..encoder.peer_models import WORDS
from .peer_models import DEVICE


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--longest", type=int, default=512)
    args = parser.parse_args()
    require("FlagEmbedding")
    texts, views = _texts(args), {"return_sparse": True, "return_colbert_vecs": True}
    from FlagEmbedding import BGEM3FlagModel

    from m3rt import M3Encoder

    model = M3Encoder(args.bundle, device=DEVICE)
    ours = model.encode(texts, max_length=args.longest, **views)
    original = BGEM3FlagModel(str(args.checkpoint), use_fp16=False, devices=DEVICE)
    theirs = original.encode(texts, batch_size=32, max_length=args.longest, **views)
    dense = (ours.dense_vecs * theirs["dense_vecs"]).sum(axis=1)
    pairs = zip(ours.colbert_vecs or [], theirs["colbert_vecs"], strict=True)
    colbert = np.concatenate([(a * b).sum(axis=1) for a, b in pairs])
    weights = [_largest(a, b) for a, b in zip(ours.lexical_weights or [], theirs["lexical_weights"], strict=True)]
    report(
        "Every view on a card, beside FlagEmbedding fp32",
        [
            {"view": "dense cosine", "mean": f"{dense.mean():.6f}", "worst": f"{dense.min():.6f}"},
            {"view": "ColBERT cosine", "mean": f"{colbert.mean():.6f}", "worst": f"{colbert.min():.6f}",
             "1st percentile": f"{np.quantile(colbert, 0.01):.6f}"},
            {"view": "lexical weights, error", "mean": f"{np.mean(weights):.2g}", "worst": f"{max(weights):.2g}"},
        ],
        regime(bundle=args.bundle.name, device=model.device, texts=len(texts), longest=args.longest),
    )  # fmt: skip


def _texts(args: Any) -> list[str]:
    if args.texts:
        with args.texts.open(encoding="utf-8") as lines:
            return [json.loads(line)["text"] for line, _ in zip(lines, range(args.count), strict=False)]
    draw = np.random.default_rng(5)
    words = draw.integers(1, args.longest // 2, args.count)
    return [" ".join(draw.choice(WORDS.split(), n)) for n in words]


def _largest(ours: Any, theirs: Any) -> float:
    """The largest difference of a weight of one text."""
    known = {int(token): float(weight) for token, weight in theirs.items()}
    return max((abs(ours.get(t, 0) - known.get(t, 0)) for t in {*ours, *known}), default=0.0)


if __name__ == "__main__":
    main()
