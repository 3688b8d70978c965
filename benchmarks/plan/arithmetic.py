"""The bytes and hours of m3rt plan beside those of an index that is built, of real texts.

    python -m benchmarks.plan.arithmetic --texts FILE --work DIR [--documents 100000] [--languages en,de] [--out PREFIX]

--texts: a JSON-lines file with a "text" field, of which `--documents` are drawn. The first `--sample` of them are
encoded first, in one call as large as those of the build, since larger ones have less padding; the plan gets their
tokens a text and tokens a second. "terms known" also gets their distinct pieces and bytes of text. DIR/index is made
anew. off: by how much the plan differs from what was measured.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from m3rt import Embeddings, HybridIndex, M3Encoder
from m3rt.index.store.precisions import COLBERT, DENSE
from m3rt.plan.costs import Speed, cost
from m3rt.plan.sizes import Corpus, index_bytes
from m3rt.plan.texts import distinct_pieces, frequent_pieces, text_bytes

from ..common import add_threads, draw_texts, options, pause, regime, report, table, write_results

_BATCH_TEXTS = 10_000
_CLOCKS: Mapping[str, Callable[[], float]] = {"s": time.perf_counter, "CPU s": time.process_time}
_NEVER = 1e9  # hours to finish in: one machine
Spent = Counter[str]  # seconds by step and clock
Heads = dict[str, Any]  # keywords of encode()


def main() -> None:
    args = _arguments()
    texts = draw_texts(args.texts, args.documents)
    encoder = M3Encoder(args.model, threads=args.threads)
    heads: Heads = {"return_sparse": encoder.manifest.heads.sparse, "return_colbert_vecs": args.colbert is not None}
    views = {"dense": args.dense, "sparse": heads["return_sparse"], "colbert": args.colbert}
    spent: Spent = Counter()
    encoder.encode(texts[: args.sample], **heads)  # the first calls of a process are slower, a tenth in all
    pause()
    with _timed(spent, "sample"):
        sample = encoder.encode(texts[: args.sample], **heads)
    parts = {
        name: index_bytes(corpus, encoder.manifest.dim, **views, colbert_dim=encoder.manifest.architecture.colbert_dim)
        for name, corpus in _corpora(texts[: args.sample], sample, args).items()
    }
    _build(args.work / "index", encoder, texts, views, heads, spent)
    found = _bytes(args.work / "index", parts["tokens known"])
    rows = [_row(f"{part}, MB", [1e-6 * p[part] for p in parts.values()], 1e-6 * size) for part, size in found.items()]
    rows.append(_row("all, MB", [1e-6 * sum(p.values()) for p in parts.values()], 1e-6 * _size(args.work / "index")))
    tokens = sample.n_tokens.sum()
    for clock in _CLOCKS:
        bill = cost(
            args.documents * tokens / len(sample), Speed(tokens / spent[f"sample, {clock}"], 0, ""), 1, _NEVER, 0
        )
        rows.append(_row(f"encode, {clock}", [3600 * bill.hours] * 2, spent[f"encode, {clock}"]))
        rows.append({"": f"add, {clock}", "measured": f"{spent[f'add, {clock}']:.2f}"})
    conditions = regime(**{name: value for name, value in vars(args).items() if name not in ("work", "out", "texts")})
    report("Plan and index", rows, conditions)
    if args.out:
        facts = "".join(f"- {name}: {value}\n" for name, value in conditions.items())
        page = f"# Plan and index\n\n{table(rows)}\n\n{facts}"
        write_results(args.out, page, {"conditions": conditions, "rows": rows})


def _corpora(texts: list[str], sample: Embeddings, args: argparse.Namespace) -> dict[str, Corpus]:
    """The whole corpus as the plan knows it: by tokens alone, and by a sample that was counted."""
    tokens, documents = float(sample.n_tokens.mean()), args.documents
    terms = 0.0 if sample.sparse is None else len(sample.sparse.indices) / len(sample)
    rows = np.bincount([] if sample.sparse is None else sample.sparse.indices)
    frequent = float(np.count_nonzero(rows > len(sample) / 10))
    size = float(np.mean([len(text.encode()) for text in texts]))
    languages = args.languages.split(",") if args.languages else ()
    law = Corpus(
        documents, tokens, distinct_pieces(tokens, args.domain), text_bytes(tokens, languages, args.domain),
        frequent_pieces(tokens, max(1, len(languages))),
    )  # fmt: skip
    return {"tokens known": law, "terms known": Corpus(documents, tokens, terms, size, frequent)}


@contextmanager
def _timed(spent: Spent, step: str) -> Any:
    before = {clock: now() for clock, now in _CLOCKS.items()}
    yield
    spent.update({f"{step}, {clock}": now() - before[clock] for clock, now in _CLOCKS.items()})


def _build(
    folder: Path, encoder: M3Encoder, texts: list[str], views: Mapping[str, Any], heads: Heads,
    spent: Spent,
) -> None:  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    index = HybridIndex.create(folder, encoder, **views)
    for first in range(0, len(texts), _BATCH_TEXTS):
        batch = texts[first : first + _BATCH_TEXTS]
        with _timed(spent, "encode"):
            out = encoder.encode(batch, **heads)
        with _timed(spent, "add"):
            index.add([f"doc-{first + i}" for i in range(len(batch))], batch, embeddings=out)
    with _timed(spent, "add"):
        index.compact()


def _bytes(index: Path, parts: Mapping[str, float]) -> dict[str, float]:
    """Bytes of an index's arrays by the parts of a plan."""
    found = dict.fromkeys(parts, 0.0)
    for file in index.rglob("*.npy"):
        view = file.name.split(".")[0]
        found["sparse" if view == "inverted" else view if view in found else "documents"] += file.stat().st_size
    return found


def _size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _row(name: str, planned: list[float], measured: float) -> dict[str, str]:
    row = {"": name, "measured": f"{measured:.2f}"}
    for known, value in zip(("tokens", "terms"), planned, strict=True):
        row |= {f"plan, {known} known": f"{value:.2f}", f"{known}: off": f"{value / measured - 1:+.1%}"}
    return row


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=_BATCH_TEXTS)
    parser.add_argument("--model", default="m3-tiny")
    parser.add_argument("--dense", choices=list(DENSE), default="int8")
    parser.add_argument("--colbert", choices=list(COLBERT))
    parser.add_argument("--languages", default="", help="of the texts, for their bytes")
    parser.add_argument("--domain", default="general")
    parser.add_argument("--out", type=Path)
    add_threads(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
