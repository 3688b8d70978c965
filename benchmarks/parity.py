"""m3rt fp32 beside FlagEmbedding on one full-shape checkpoint: largest absolute difference of each output.

    python benchmarks/parity.py CHECKPOINT --texts TEXTS.jsonl [--longest 8192]

Random weights can leave the sparse head silent, so the checkpoint is used with its sparse bias raised by 8.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import mixlen, regime, report
from FlagEmbedding import BGEM3FlagModel
from m3rt_export import export

from m3rt import M3Encoder

SPARSE = "sparse_linear.pt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--longest", type=int, default=8192)
    args = parser.parse_args()
    pool = mixlen(args.texts, 400)
    long = " ".join(pool)
    batches = {
        "empty and short": ["", "a", "<s> typed </s>", "Hello   world", "42 🚀"],
        "mixed": pool[:24],
        **{f"1x{n}": [long] for n in (64, 512, 2048, args.longest)},
    }
    with tempfile.TemporaryDirectory(dir=args.checkpoint.parent) as scratch:
        checkpoint = _with_loud_sparse_head(args.checkpoint, Path(scratch) / "checkpoint")
        export(checkpoint, Path(scratch) / "fp32", precision="fp32")
        ours = M3Encoder(Path(scratch) / "fp32", device="cpu")
        oracle = BGEM3FlagModel(str(checkpoint), use_fp16=False, devices="cpu")
        rows = [_compare(ours, oracle, name, texts) for name, texts in batches.items()]
    report("Parity with FlagEmbedding, fp32, largest absolute difference", rows, regime())


def _with_loud_sparse_head(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.rglob("*"):
        if path.is_file() and path.name != SPARSE:
            (target / path.relative_to(source)).parent.mkdir(exist_ok=True)
            os.link(path, target / path.relative_to(source))
    head = torch.load(source / SPARSE, weights_only=True)
    torch.save({**head, "bias": head["bias"] + 8}, target / SPARSE)
    return target


def _compare(ours: M3Encoder, oracle: Any, name: str, texts: list[str]) -> dict[str, Any]:
    limit = int(name.removeprefix("1x")) if name.startswith("1x") else 8192
    out = ours.encode(texts, return_sparse=True, return_colbert_vecs=True, max_length=limit)
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


def _gap(one: dict[str, float], two: dict[str, float]) -> float:
    return max((abs(one.get(i, 0.0) - two.get(i, 0.0)) for i in {*one, *two}), default=0.0)


if __name__ == "__main__":
    main()
