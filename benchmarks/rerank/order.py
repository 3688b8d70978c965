"""Whether an int8 reranker keeps the order of fp32: lists of fifty documents of labelled data sets, scored by both.

    python -m benchmarks.rerank.order --fp32 BUNDLE --int8 BUNDLE DATASET... [--queries 40] [--engines onnxruntime]

The bundles are of one trained checkpoint; a DATASET is what `m3rt eval` reads. A list has the best documents of the
first stage for one query, all views fused. tau is Kendall's, of each list's two orders. Of nDCG@10 only the order
within the lists counts: the relevant documents outside are lost to both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rt import M3Encoder, M3Reranker
from m3rt.embeddings import WEIGHTS
from m3rt.evaluation import Task, difference, read_dataset, task
from m3rt.evaluation.evaluate import ranked
from m3rt.evaluation.measures import MAIN, measure
from m3rt.evaluation.pair_fidelity import kendall_tau
from m3rt.evaluation.reranked import first_stage
from m3rt.evaluation.views import embed

from ..common import add_threads, options, regime, report

Lists = list[NDArray[np.int64]]  # of each query, documents
Logits = list[NDArray[np.float64]]  # of each list


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--fp32", type=Path, required=True)
    parser.add_argument("--int8", type=Path, required=True)
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET")
    parser.add_argument("--first", type=Path, help="bundle of the first stage; default m3-tiny")
    parser.add_argument("--queries", type=int, default=40, help="drawn of each data set")
    parser.add_argument("--documents", type=int, default=50, help="of a list")
    parser.add_argument("--max-length", type=int, default=256, help="tokens kept of a pair")
    parser.add_argument("--engines", nargs="+", default=["onnxruntime", "openvino"], help="of the int8 bundle")
    add_threads(parser)
    args = parser.parse_args()
    runtime: dict[str, Any] = {"device": "cpu", "threads": args.threads}
    tasks = [task(read_dataset(path), max_queries=args.queries) for path in args.datasets]
    encoder = M3Encoder(args.first or "m3-tiny", **runtime)
    lists = [_lists(encoder, each, args.documents) for each in tasks]
    reference = M3Reranker(args.fp32, engine="onnxruntime", **runtime)
    exact = [_logits(reference, *each, args.max_length) for each in zip(tasks, lists, strict=True)]
    rows = []
    for engine in args.engines:
        model = M3Reranker(args.int8, engine=engine, **runtime)
        for each, documents, expected in zip(tasks, lists, exact, strict=True):
            found = _logits(model, each, documents, args.max_length)
            rows.append({"data set": each.data.name, "engine": engine, **_row(each, documents, found, expected)})
    names = {"fp32": args.fp32.name, "int8": args.int8.name, "documents": args.documents, "tokens": args.max_length}
    report("Order that int8 keeps", rows, regime(**names))


def _lists(encoder: M3Encoder, each: Task, documents: int) -> Lists:
    rankings = ranked(embed(encoder, each, lambda texts, tokens: None), each, WEIGHTS)
    return [ranking[:documents] for ranking in rankings[first_stage(rankings)]]


def _logits(reranker: M3Reranker, each: Task, lists: Lists, max_length: int) -> Logits:
    texts = each.data.corpus.texts
    return [
        reranker.compute_score([(query, texts[d]) for d in documents], max_length=max_length).values
        for query, documents in zip(each.data.queries.texts, lists, strict=True)
    ]


def _row(each: Task, lists: Lists, found: Logits, expected: Logits) -> dict[str, Any]:
    taus = [kendall_tau(a, b) for a, b in zip(found, expected, strict=True)]
    best, reference, before = (
        measure(each.data.relevant, rankings, [MAIN])[MAIN]
        for rankings in (_ordered(lists, found), _ordered(lists, expected), lists)
    )
    lost = difference([reference], [best])
    logits, exact = np.concatenate(found), np.concatenate(expected)
    return {
        "lists": len(lists),
        "tau": f"{np.mean(taus):.4f}",
        "tau min": f"{min(taus):.4f}",
        "nDCG@10 before": f"{before.mean():.4f}",
        "fp32": f"{reference.mean():.4f}",
        "int8": f"{best.mean():.4f}",
        "points lost": f"{100 * lost.mean:.2f} [{100 * lost.low:.2f}, {100 * lost.high:.2f}]",
        "max logit error": f"{np.abs(logits - exact).max():.3f}",
        "max score error": f"{np.abs(_sigmoid(logits) - _sigmoid(exact)).max():.4f}",
        "spread of logits": f"{np.mean([logits.std() for logits in expected]):.2f}",
    }


def _ordered(lists: Lists, logits: Logits) -> Lists:
    return [d[np.argsort(-values, kind="stable")] for d, values in zip(lists, logits, strict=True)]


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits)))


if __name__ == "__main__":
    main()
