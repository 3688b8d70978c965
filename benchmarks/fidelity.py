"""What int8 costs: dense vectors of an int8 bundle beside the fp32 bundle of the same trained checkpoint.

    python benchmarks/fidelity.py --fp32 BUNDLE --int8 BUNDLE --texts TEXTS.jsonl

TEXTS has "text" and "lang"; eight texts of every language are used. Overlap: of each text's ten nearest
neighbours among the others, the share that int8 finds too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import by_language, regime, report
from numpy.typing import NDArray

from m3rt import M3Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fp32", type=Path, required=True)
    parser.add_argument("--int8", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--each", type=int, default=8, help="texts of each language")
    parser.add_argument("--characters", type=int, default=500, help="of each text")
    parser.add_argument("--seeds", type=int, default=3, help="draws of texts")
    args = parser.parse_args()
    models = [M3Encoder(path, device="cpu") for path in (args.fp32, args.int8)]
    rows = []
    for seed in range(args.seeds):
        languages = by_language(args.texts, args.each, args.characters, seed=seed)
        texts = [text for found in languages.values() for text in found]
        exact, quantized = (_dense(model, texts) for model in models)
        cosine = (exact * quantized).sum(axis=1)
        rows.append(
            {
                "draw": seed,
                "texts": len(texts),
                "languages": len(languages),
                "cosine mean": f"{cosine.mean():.5f}",
                "cosine min": f"{cosine.min():.5f}",
                "top-10 overlap": f"{_overlap(exact, quantized):.4f}",
                "mean cosine between texts": f"{(exact @ exact.T).mean():.3f}",
            }
        )
    report(
        "Fidelity of int8", rows, regime(fp32=args.fp32.name, int8=args.int8.name, model=models[1].manifest.source.id)
    )


def _dense(model: M3Encoder, texts: list[str]) -> NDArray[np.float32]:
    dense = model.encode_corpus(texts).dense_vecs
    assert dense is not None
    return dense


def _overlap(one: NDArray[np.float32], two: NDArray[np.float32], k: int = 10) -> float:
    nearest = []
    for vectors in (one, two):
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        nearest.append(np.argsort(-similarity, axis=1)[:, :k])
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(*nearest, strict=True)]))


if __name__ == "__main__":
    main()
