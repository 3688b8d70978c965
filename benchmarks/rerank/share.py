"""What a search that ends with a reranker leaves of the bare engine's speed.

    python -m benchmarks.rerank.share RERANKER [--passages 100 --tokens 128]

An index of random passages, of m3-tiny's vectors; one search reranks all of them, the bare engine runs the same pairs
that were tokenized and put into passes before. Both in turn; the share is of medians.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from m3rt import HybridIndex, M3Encoder, M3Reranker
from m3rt.batching.plan import plan

from ..common import add_threads, interleaved, options, regime, report
from ..encoder.peer_models import WORDS


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("reranker", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    add_threads(parser)
    args = parser.parse_args()
    reranker = M3Reranker(args.reranker, engine=args.engine, threads=args.threads)
    query, texts = _texts(reranker, args.passages, args.tokens)
    with tempfile.TemporaryDirectory() as folder:
        index = HybridIndex.create(Path(folder) / "index", M3Encoder(threads=args.threads))
        index.add([str(i) for i in range(len(texts))], texts)
        stages: dict[str, float] = {}

        def search() -> None:
            result = index.search(query, k=10, rerank=reranker, rerank_candidates=len(texts), candidates=len(texts))
            stages.update(result.seconds)

        ids = reranker.prepare([(query, text) for text in texts])
        passes = [
            ids.padded(rows, reranker.manifest.special_tokens.pad)
            for rows in plan(ids.tokens.lengths, reranker.batch_tokens, reranker.engine.pass_tokens)
        ]

        def bare() -> None:
            for tokens, mask, types in passes:
                used = types if reranker.manifest.takes_token_types else None
                reranker.engine.run(tokens, mask, reranker.manifest.heads, used)

        start = time.perf_counter()
        seconds = interleaved({"search": search, "bare engine": bare}, args.repeats)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    tokens = int(ids.tokens.lengths.sum())
    rows = [
        {"call": name, "s": round(value, 3), "tokens/s": round(tokens / value, 1)} for name, value in medians.items()
    ]
    rows.append({"call": "share", "s": f"{medians['bare engine'] / medians['search']:.1%}", "tokens/s": ""})
    stages = {name: round(value, 4) for name, value in stages.items()}
    report(
        "A search that ends with a reranker",
        rows,
        regime(threads=args.threads, tokens=tokens, stages=stages, ran=round(time.perf_counter() - start)),
    )


def _texts(reranker: M3Reranker, passages: int, tokens: int) -> tuple[str, list[str]]:
    """A question, and passages with which it has about `tokens` tokens."""
    draw = np.random.default_rng(1)
    query = " ".join(draw.choice(WORDS.split(), 8))
    texts = []
    for _ in range(passages):
        words = draw.choice(WORDS.split(), tokens).tolist()
        while len(reranker.tokenize(query, " ".join(words))) > tokens:
            words.pop()
        texts.append(" ".join(words))
    return query, texts


if __name__ == "__main__":
    main()
