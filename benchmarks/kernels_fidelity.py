"""What int8 and 1 bit cost MaxSim on the token vectors of a trained encoder.

python benchmarks/kernels_fidelity.py CHECKPOINT DATASET [--queries 100] [--documents 500]
CHECKPOINT: Hugging Face's layout, its last hidden states are the token vectors. DATASET: corpus.jsonl, queries.jsonl.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import regime, report
from m3rt_kernels import maxsim, maxsim_binary, maxsim_int8, pack_bits, quantize_int8
from transformers import AutoModel, AutoTokenizer

Array = np.ndarray[Any, Any]
TOP = 10


def token_vectors(checkpoint: str, texts: list[str], prefix: str) -> tuple[Array, Array]:
    """Unit token vectors of all texts without <s>, and offsets."""
    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint).eval()
    parts = []
    for text in texts:
        with torch.no_grad():
            batch = tokenizer(prefix + text, truncation=True, max_length=256, return_tensors="pt")
            hidden = model(**batch).last_hidden_state[0, 1:]
        parts.append(torch.nn.functional.normalize(hidden, dim=-1).numpy())
    return np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])


def compare(exact: Array, other: Array) -> dict[str, str]:
    """Of (queries, documents): greatest relative difference; of the exact top 10, what is kept."""
    kept, ordered = [], []
    for one, two in zip(exact, other, strict=True):
        best = np.argsort(-one, kind="stable")[:TOP]
        kept.append(len(np.intersect1d(best, np.argsort(-two, kind="stable")[:TOP])) / TOP)
        first, second = np.triu_indices(TOP, 1)
        ordered.append((two[best[first]] >= two[best[second]]).mean())
    return {
        "greatest relative difference": f"{(np.abs(other - exact) / np.abs(exact)).max():.2%}",
        "of the top 10 found": f"{np.mean(kept):.1%}",
        "pairs of the top 10 in order": f"{np.mean(ordered):.1%}",
    }


def rescored(signs: Array, codes: Array, factor: int) -> Array:
    """int8 scores where the signs rank a document among the first factor * TOP, and less than any elsewhere."""
    result = np.full_like(codes, -1)
    best = np.argsort(-signs, axis=1, kind="stable")[:, : factor * TOP]
    np.put_along_axis(result, best, np.take_along_axis(codes, best, 1), 1)
    return result


def texts(path: Path, count: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in random.Random(0).sample(lines, min(count, len(lines)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--documents", type=int, default=500)
    args = parser.parse_args()
    query, query_offsets = token_vectors(
        args.checkpoint, texts(args.dataset / "queries.jsonl", args.queries), "query: "
    )
    vectors, offsets = token_vectors(args.checkpoint, texts(args.dataset / "corpus.jsonl", args.documents), "passage: ")
    exact = maxsim(query, vectors, offsets, query_offsets=query_offsets)
    codes = maxsim_int8(query, *quantize_int8(vectors), offsets, query_offsets=query_offsets)
    signs = maxsim_binary(query, pack_bits(vectors), offsets, query_offsets=query_offsets)
    scores: dict[str, Callable[[], Array]] = {
        "float16": lambda: maxsim(query, vectors.astype(np.float16), offsets, query_offsets=query_offsets),
        "int8": lambda: codes,
        "1 bit": lambda: signs,
    }
    rows = [{"stored": name} | compare(exact, score()) for name, score in scores.items()]
    for factor in (2, 4, 8):
        found = compare(exact, rescored(signs, codes, factor)) | {"greatest relative difference": ""}
        rows.append({"stored": f"1 bit, the best {factor * TOP} rescored in int8"} | found)
    report(
        "MaxSim's fidelity", rows,
        regime(dataset=args.dataset.name, queries=exact.shape[0], documents=exact.shape[1], dim=vectors.shape[1]),
    )  # fmt: skip


if __name__ == "__main__":
    main()
