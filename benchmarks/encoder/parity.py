"""m3rt fp32 beside FlagEmbedding on one full-shape checkpoint: largest absolute difference of each output.

    python -m benchmarks.encoder.parity CHECKPOINT --texts TEXTS.jsonl [--longest 8192]

Random weights can leave the sparse head silent, so a copy of the checkpoint is compared whose sparse bias is 8 higher.
Needs FlagEmbedding.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from m3rt import M3Encoder

from ..common import draw_texts, options, regime, report, require

SPARSE_HEAD = "sparse_linear.pt"
_ADDED_BIAS = 8


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--longest", type=int, default=8192)
    args = parser.parse_args()
    require("torch", "FlagEmbedding")
    from FlagEmbedding import BGEM3FlagModel
    from m3rt_export import export

    pool = draw_texts(args.texts, 400)
    long = " ".join(pool)
    batches = {
        "empty and short": ["", "a", "<s> typed </s>", "Hello   world", "42 🚀"],
        "mixed": pool[:24],
        **{f"1x{n}": [long] for n in (64, 512, 2048, args.longest)},
    }
    with tempfile.TemporaryDirectory(dir=args.checkpoint.parent) as scratch:
        checkpoint = _with_loud_sparse_head(args.checkpoint, Path(scratch) / "checkpoint")
        export(checkpoint, Path(scratch) / "fp32", precision="fp32")
        encoder = M3Encoder(Path(scratch) / "fp32", device="cpu")
        oracle = BGEM3FlagModel(str(checkpoint), use_fp16=False, devices="cpu")
        rows = [_compare(encoder, oracle, name, texts) for name, texts in batches.items()]
    report("Parity with FlagEmbedding, fp32, largest absolute difference", rows, regime())


def _with_loud_sparse_head(source: Path, target: Path) -> Path:
    import torch

    target.mkdir()
    for path in source.rglob("*"):
        if path.is_file() and path.name != SPARSE_HEAD:
            (target / path.relative_to(source)).parent.mkdir(exist_ok=True)
            os.link(path, target / path.relative_to(source))
    head = torch.load(source / SPARSE_HEAD, weights_only=True)
    torch.save({**head, "bias": head["bias"] + _ADDED_BIAS}, target / SPARSE_HEAD)
    return target


def _compare(encoder: M3Encoder, oracle: Any, name: str, texts: list[str]) -> dict[str, Any]:
    limit = int(name.removeprefix("1x")) if name.startswith("1x") else 8192
    out = encoder.encode(texts, return_sparse=True, return_colbert_vecs=True, max_length=limit)
    expected = oracle.encode(
        texts, return_dense=True, return_sparse=True, return_colbert_vecs=True, max_length=limit, batch_size=8
    )
    assert out.dense_vecs is not None
    assert out.lexical_weights is not None
    assert out.colbert_vecs is not None
    sparse = [
        _gap({str(i): w for i, w in a.items()}, b)
        for a, b in zip(out.lexical_weights, expected["lexical_weights"], strict=True)
    ]
    colbert = [np.abs(a - b).max(initial=0) for a, b in zip(out.colbert_vecs, expected["colbert_vecs"], strict=True)]
    return {
        "batch": name,
        "texts": len(texts),
        "tokens": f"{out.n_tokens.min()}..{out.n_tokens.max()}",
        "lexical weights": sum(map(len, out.lexical_weights)),
        "dense": f"{np.abs(out.dense_vecs - expected['dense_vecs']).max():.1e}",
        "sparse": f"{max(sparse):.1e}",
        "colbert": f"{max(colbert):.1e}",
    }


def _gap(weights: dict[str, float], oracle: dict[str, float]) -> float:
    return max((abs(weights.get(i, 0.0) - oracle.get(i, 0.0)) for i in {*weights, *oracle}), default=0.0)


if __name__ == "__main__":
    main()
