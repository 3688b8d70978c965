"""m3rt plan: which model, precisions, views and machines for a corpus."""

from __future__ import annotations

from typing import Any

import click

from ..values.counts import counted
from .parts.console import emit_json, emit_text, say
from .parts.options import model_option, only_with, runtime_options


@click.command("plan")
@click.option("--documents", type=int, help="Documents of the corpus.")
@click.option("--languages", help="Their languages, as codes: en,de,zh.")
@click.option("--domain", help="general, code, finance, legal, medical, science, or another word.")
@click.option("--tokens", type=int, help="Tokens of a document on average.")
@click.option("--target", help="edge, server or cloud.")
@click.option("--latency-ms", type=float, help="The most milliseconds of a query.  [default: no limit]")
@click.option("--storage-gb", type=float, help="The most gigabytes stored.  [default: no limit]")
@click.option("--hours", type=float, help="In which the corpus must be encoded.")
@click.option("--tokens-per-s", type=float, help="What a machine encodes: see m3rt bench.  [default: measured ones]")
@click.option("--dollars-an-hour", type=float, help="The price of a machine.")
@click.option("--dim", "dims", type=int, multiple=True, help="Components kept; several with --data.  [default: all]")
@click.option("--colbert", is_flag=True, help="With ColBERT vectors, whatever the size of the corpus.")
@click.option("--data", metavar="DIR", help="Measure on this labelled data set, as m3rt eval reads it.")
@click.option("--split", default="test", help="Which of several qrels/SPLIT.tsv of --data.")
@click.option("--max-queries", type=click.IntRange(min=1), default=300, help="Queries of --data, always the same.")
@click.option("--chart", metavar="FILE", help="Draw what --data measured: .svg, .png or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@model_option
@runtime_options
def command(
    dims: tuple[int, ...], data: str | None, split: str, max_queries: int, chart: str | None, as_json: bool,
    colbert: bool, model: str, languages: str | None, device: str, engine: str, threads: int | None,
    batch_tokens: int | None, **answers: Any,
) -> None:  # fmt: skip
    """Choose a model, precisions, views and machines for a corpus, with reasons and the commands to run.

    \b
    m3rt plan --documents 1000000 --languages en,de --tokens 300 --storage-gb 20
    m3rt plan --data my-labelled-sample -m BUNDLE --chart front.svg

    Questions without an answer get defaults, which are printed. Figures of models are published ones, with their
    sources, in m3rt.plan.models.

    With --data, BUNDLE is measured instead: each view, precision and dimension on your documents, queries and
    judgements. The table is the front that no smaller choice beats; * is the smallest that loses less than a point of
    nDCG@10 to the best, with 95% confidence. Latency is of single queries, a hundred of them, model and search, on
    this machine.
    """
    only_with("--data", data, "split", "max_queries", "chart")
    if data is None:
        _plan(dims, as_json, colbert, languages, answers)
        return
    runtime = {"device": device, "engine": engine, "threads": threads, "batch_tokens": batch_tokens}
    _measure(data, split, max_queries, dims, chart, as_json, model, answers["dollars_an_hour"], runtime)


def _plan(dims: tuple[int, ...], as_json: bool, colbert: bool, languages: str | None, answers: dict[str, Any]) -> None:
    from ..plan import Questions, recommend
    from ..plan.report import commands, decisions, shown

    if len(dims) > 1:
        raise click.UsageError("Expected one --dim, or --data DIR to measure several.")
    known = {name: value for name, value in answers.items() if value is not None}
    if languages is not None:
        known["languages"] = tuple(code.strip() for code in languages.split(","))
    if dims:
        known["dim"] = dims[0]
    questions = Questions(**known, colbert=colbert)
    plan = recommend(questions)
    if as_json:
        assumed = questions.defaults({*known})
        emit_json({"assumed": assumed, **decisions(plan), "reasons": plan.reasons, "run": commands(plan)}, indent=2)
    else:
        emit_text(*shown(plan, questions, {*known}))


def _measure(
    data: str, split: str, max_queries: int, dims: tuple[int, ...], chart: str | None, as_json: bool, model: str,
    dollars: float | None, runtime: dict[str, Any],
) -> None:  # fmt: skip
    from ..encoder import M3Encoder
    from ..evaluation import read_dataset, task
    from ..host.extras import need
    from ..output.figure import check
    from ..plan import Questions, measure_choices
    from ..plan.chart import chart as draw
    from ..plan.report import measured_json, measured_lines
    from .parts.meter import Meter

    need("eval", "ir_measures")
    if chart:
        check(chart)
    labelled = task(read_dataset(data, split=split, warn=say), max_queries=max_queries, warn=say)
    encoder = M3Encoder(model, **runtime)
    an_hour = Questions().dollars_an_hour if dollars is None else dollars
    with Meter(len(labelled.data.corpus) + len(labelled.data.queries), 0) as meter:
        measured = measure_choices(encoder, labelled, dims=dims, progress=meter.ran)
    if as_json:
        emit_json({"model": model, "dataset": labelled.data.name, **measured_json(measured, an_hour)}, indent=2)
    else:
        emit_text(
            f"{labelled.data.name}: {counted(len(labelled.data.queries), 'query', 'queries')}",
            *measured_lines(measured, an_hour),
        )
    if chart:
        draw(measured, chart)
        say(f"{chart} written")
