"""The loss of int8: dense vectors of an int8 bundle beside those of the fp32 bundle of the same trained checkpoint.

    python -m benchmarks.encoder.fidelity --fp32 BUNDLE --int8 BUNDLE --texts TEXTS.jsonl

TEXTS has "text" and "lang"; eight texts of every language are drawn, three times. The measures are those of
`m3rt verify --against`; the mean cosine of all pairs of texts shows how narrow a cone the vectors fill.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m3rt import M3Encoder
from m3rt.evaluation.fidelity import fidelity

from ..common import draw_by_language, options, regime, report


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--fp32", type=Path, required=True)
    parser.add_argument("--int8", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--each", type=int, default=8, help="texts of each language")
    parser.add_argument("--characters", type=int, default=500, help="characters kept of each text")
    parser.add_argument("--seeds", type=int, default=3, help="number of draws")
    args = parser.parse_args()
    reference, model = (M3Encoder(path, device="cpu") for path in (args.fp32, args.int8))
    rows = []
    for seed in range(args.seeds):
        languages = draw_by_language(args.texts, args.each, args.characters, seed=seed)
        texts = [text for drawn in languages.values() for text in drawn]
        exact = reference.encode_corpus(texts)
        loss = fidelity(model.encode_corpus(texts), exact)
        vectors = np.asarray(exact.dense_vecs)
        rows.append(
            {
                "draw": seed,
                "texts": len(texts),
                "languages": len(languages),
                "cosine mean": f"{loss.cosine_mean:.5f}",
                "cosine min": f"{loss.cosine_min:.5f}",
                "top-10 overlap": f"{loss.overlap:.4f}",
                "mean cosine between texts": f"{(vectors @ vectors.T).mean():.3f}",
            }
        )
    report("Fidelity of int8", rows, regime(fp32=args.fp32.name, int8=args.int8.name, model=model.manifest.source.id))


if __name__ == "__main__":
    main()
