"""The loss of int8 and of 1 bit in MaxSim, on the token vectors of a trained encoder.

python -m benchmarks.kernels.fidelity CHECKPOINT DATASET [--queries 100] [--documents 500]

CHECKPOINT has Hugging Face's layout; its last hidden states are the token vectors. DATASET is a folder with
corpus.jsonl and queries.jsonl.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8

from ..common import options, regime, report, require

Array = np.ndarray[Any, Any]
TOP_K = 10
_MAX_TEXT_TOKENS = 256


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--documents", type=int, default=500)
    args = parser.parse_args()
    require("torch", "transformers")
    queries = _texts(args.dataset / "queries.jsonl", args.queries)
    documents = _texts(args.dataset / "corpus.jsonl", args.documents)
    query, query_offsets = token_vectors(args.checkpoint, queries, "query: ")
    vectors, offsets = token_vectors(args.checkpoint, documents, "passage: ")
    exact = maxsim(query, vectors, offsets, query_offsets=query_offsets)
    int8 = maxsim_int8(query, *quantize_int8(vectors), offsets, query_offsets=query_offsets)
    signs = maxsim_binary(query, pack_bits(vectors), offsets, query_offsets=query_offsets)
    scores: dict[str, Callable[[], Array]] = {
        "float16": lambda: maxsim(query, vectors.astype(np.float16), offsets, query_offsets=query_offsets),
        "int8": lambda: int8,
        "1 bit": lambda: signs,
    }
    rows = [{"stored": name} | compare(exact, score()) for name, score in scores.items()]
    for factor in (2, 4, 8):
        loss = compare(exact, rescored(signs, int8, factor)) | {"greatest relative difference": ""}
        rows.append({"stored": f"1 bit, the best {factor * TOP_K} rescored in int8"} | loss)
    report(
        "MaxSim's fidelity", rows,
        regime(dataset=args.dataset.name, queries=exact.shape[0], documents=exact.shape[1], dim=vectors.shape[1]),
    )  # fmt: skip


def token_vectors(checkpoint: str, texts: list[str], prefix: str) -> tuple[Array, Array]:
    """Return unit token vectors (tokens, dim) of all texts without <s>, and offsets (texts + 1,) into them."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint).eval()
    parts = []
    for text in texts:
        with torch.no_grad():
            batch = tokenizer(prefix + text, truncation=True, max_length=_MAX_TEXT_TOKENS, return_tensors="pt")
            hidden = model(**batch).last_hidden_state[0, 1:]
        parts.append(torch.nn.functional.normalize(hidden, dim=-1).numpy())
    return np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])


def compare(exact: Array, approximate: Array) -> dict[str, str]:
    """Compare scores (queries, documents): the greatest relative difference, and how much of the exact top 10 is kept.

    A pair of the exact top 10 is in order if the approximate scores rank it alike.
    """
    kept, ordered = [], []
    for right, near in zip(exact, approximate, strict=True):
        best = np.argsort(-right, kind="stable")[:TOP_K]
        kept.append(len(np.intersect1d(best, np.argsort(-near, kind="stable")[:TOP_K])) / TOP_K)
        first, second = np.triu_indices(TOP_K, 1)
        ordered.append((near[best[first]] >= near[best[second]]).mean())
    return {
        "greatest relative difference": f"{(np.abs(approximate - exact) / np.abs(exact)).max():.2%}",
        "of the top 10 found": f"{np.mean(kept):.1%}",
        "pairs of the top 10 in order": f"{np.mean(ordered):.1%}",
    }


def rescored(signs: Array, int8: Array, factor: int) -> Array:
    """Return int8 scores of the factor * TOP_K documents that the signs rank first; -1, below all others, elsewhere."""
    result = np.full_like(int8, -1)
    best = np.argsort(-signs, axis=1, kind="stable")[:, : factor * TOP_K]
    np.put_along_axis(result, best, np.take_along_axis(int8, best, 1), 1)
    return result


def _texts(path: Path, count: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in random.Random(0).sample(lines, min(count, len(lines)))]


if __name__ == "__main__":
    main()
