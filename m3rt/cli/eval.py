"""m3rt eval: how well a bundle retrieves, on labelled data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .parts.console import emit_json, emit_text, say
from .parts.options import only_with, runtime_options

if TYPE_CHECKING:
    from ..encoder import M3Encoder
    from ..evaluation import Evaluation, LastStage, Task
    from ..evaluation.pools import Languages


@click.command("eval")
@click.argument("model")
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option("--split", default="test", help="Which of several qrels/SPLIT.tsv.")
@click.option(
    "--against", metavar="BUNDLE", help="Another bundle: nDCG@10 difference with a paired bootstrap interval."
)
@click.option("--bm25", is_flag=True, help="Rank by BM25 too: does the model beat words?")
@click.option("--cross-lingual", is_flag=True, help="Search each query among the documents of all other languages.")
@click.option("--language-pairs", is_flag=True, help="Search each query in each of the other languages on its own.")
@click.option(
    "--max-queries", type=click.IntRange(min=1), help="Draw so many queries of each data set, always the same."
)
@click.option(
    "--tune-weights", metavar="DEV", help="Find fusion weights on this data set (its split dev) and use them."
)
@click.option("--rerank", "reranker", metavar="BUNDLE", help="Rank by a reranker too: does the last stage pay?")
@click.option("--rerank-candidates", type=int, default=30, help="Documents that --rerank reads with a query.")
@click.option("--chart", metavar="FILE", help="Draw nDCG@10 by data set and mode: .svg, .png or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@runtime_options
def command(
    model: str,
    datasets: tuple[str, ...],
    split: str,
    against: str | None,
    bm25: bool,
    cross_lingual: bool,
    language_pairs: bool,
    max_queries: int | None,
    tune_weights: str | None,
    reranker: str | None,
    rerank_candidates: int,
    chart: str | None,
    as_json: bool,
    **runtime: Any,
) -> None:
    """Measure nDCG@10, Recall@100 and MRR@10 on labelled data sets, in every mode.

    A DATASET is a directory in BEIR's layout: corpus.jsonl, queries.jsonl, and qrels.tsv or qrels/SPLIT.tsv. Modes
    are each view alone, and dense+sparse and all three fused by weights (1, 0.3, 1) and by reciprocal ranks. Every
    document is scored, without an index; ColBERT scores the best 200 of dense+sparse where all would take too long,
    and the table says so.

    Where rows have a "lang", a query is searched among the documents of its language, unless documents in other
    languages are relevant to it. With --cross-lingual it is searched among all documents of other languages, and
    those of its "group" are relevant; without groups, what the judgements say. With --language-pairs it is searched
    in each of those languages on its own, as MLQA and Belebele do, and counts as often.

    With --rerank the mode "reranked" has the best documents of all three in the reranker's order, and the others below
    them. The first line shows the seconds a query that this took.

    Faults of a data set are reported on stderr, a line for each kind, and the rest of it is measured.

    MODEL is a bundle's directory.
    """
    from ..embeddings import WEIGHTS
    from ..encoder import M3Encoder
    from ..evaluation import read_dataset, task
    from ..evaluation.chart import chart as draw
    from ..evaluation.report import conditions, languages, table, to_json
    from ..host.extras import need
    from ..output.figure import check

    only_with("--rerank", reranker, "rerank_candidates")
    need("eval", "ir_measures", *["bm25s"] * bm25)
    if cross_lingual and language_pairs:
        raise click.UsageError("Expected --cross-lingual, all languages at once, or --language-pairs, not both.")
    among: Languages = "others" if cross_lingual else "each" if language_pairs else "own"
    if chart:
        check(chart)
    tasks = [
        task(read_dataset(path, split=split, warn=say), among=among, max_queries=max_queries, warn=say)
        for path in datasets
    ]
    encoder = M3Encoder(model, **runtime)
    last_stage = _last_stage(reranker, rerank_candidates, runtime) if reranker else None
    reference = M3Encoder(against, **runtime) if against else None
    weights = _tuned(encoder, tune_weights, among, max_queries) if tune_weights else WEIGHTS
    results: list[Evaluation] = []
    references: list[Evaluation] = []
    for each in tasks:
        results.append(_evaluated(encoder, each, weights, bm25, last_stage))
        references += [_evaluated(reference, each, weights, False)] if reference else []
        if not as_json:
            emit_text(conditions(results[-1]), *table(results[-1:], references[-1:]), *languages(results[-1]), "")
    if as_json:
        result: dict[str, Any] = {"model": model, "against": against, "weights": dict(weights)}
        result |= {"cross_lingual": cross_lingual, "language_pairs": language_pairs}
        emit_json(result | to_json(results, references or None), indent=2)
    elif len(results) > 1:
        emit_text(f"mean of {len(results)} data sets", *table(results, references or None))
    if chart:
        draw(results, chart)
        say(f"{chart} written")


def _last_stage(bundle: str, candidates: int, runtime: dict[str, Any]) -> LastStage:
    from ..evaluation import LastStage
    from ..reranker import M3Reranker

    return LastStage(M3Reranker(bundle, **runtime), candidates)


def _evaluated(
    encoder: M3Encoder, task: Task, weights: Mapping[str, float], words: bool, last_stage: LastStage | None = None
) -> Evaluation:
    from ..evaluation import evaluate
    from .parts.meter import Meter

    pairs = len(task.data.queries) * min(last_stage.candidates, len(task.data.corpus)) if last_stage else 0
    with Meter(len(task.data.corpus) + len(task.data.queries) + pairs, 0) as meter:
        return evaluate(encoder, task, weights=weights, words=words, last_stage=last_stage, progress=meter.ran)


def _tuned(encoder: M3Encoder, path: str, among: Languages, max_queries: int | None) -> dict[str, float]:
    from ..evaluation import read_dataset, task
    from ..evaluation.views import embed
    from ..evaluation.weights import tune
    from .parts.meter import Meter

    dev = task(read_dataset(path, split="dev", warn=say), among=among, max_queries=max_queries, warn=say)
    with Meter(len(dev.data.corpus) + len(dev.data.queries), 0) as meter:
        views = embed(encoder, dev, meter.ran)
    weights, reached, default = tune(views, dev)
    shown = ", ".join(f"{view} {weight:g}" for view, weight in weights.items())
    say(f"weights {shown}: nDCG@10 {reached:.4f} on {path}, of which they were found; {default:.4f} by default")
    return weights
