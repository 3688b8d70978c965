"""m3rt verify: is the bundle whole, does it compute here what it should, and what does its precision cost?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..values.counts import counted
from .parts.console import bar, emit_json, emit_text, say, size
from .parts.options import model_argument, only_with, runtime_options

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..bundle.golden import GoldenReport
    from ..evaluation import Gate


@click.command("verify")
@model_argument
@click.option("--against", metavar="BUNDLE", help="The fp32 bundle of the same checkpoint: measure what is lost.")
@click.option("--data", multiple=True, metavar="DATASET", help="Compare on this data set, nDCG@10 too. Repeatable.")
@click.option("--split", default="test", help="Which of several qrels/SPLIT.tsv of a data set.")
@click.option("--max-queries", type=click.IntRange(min=1), help="Draw so many queries of each data set.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE", help="Another limit for a check. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@runtime_options
def command(
    model: str,
    against: str | None,
    data: tuple[str, ...],
    split: str,
    max_queries: int | None,
    limits: tuple[str, ...],
    as_json: bool,
    **runtime: Any,
) -> None:
    """Check a bundle's files, and that it computes here what it should.

    The SHA-256 of every file is compared with the manifest, and that of every file that m3rt tune saved here with its
    profile; then the golden texts are encoded and compared with the results of the export. Exit status 1: the files
    are right and the results are not.

    With --against, outputs are compared with those of a bundle in fp32, on the texts of --data or without any on
    300 built-in sentences in 30 languages. Checks and their limits: cosine_mean 0.9995 and cosine_min 0.998 of the
    dense vectors; overlap 0.96 of each text's ten nearest neighbours; sparse_agreement 0.95 of its ten heaviest
    terms; colbert_error 0.02, the largest difference of a MaxSim score; ndcg_loss 0.003 of nDCG@10 in each mode, mean
    of the data sets, if its 95% interval leaves 0 out too. The limits of int4 are 0.995,
    0.98, 0.88, 0.88, 0.05 and 0.01. The result is kept in the manifest, for m3rt info, by engine. Exit status 1: a
    check failed.

    A reranker is compared on 20 queries with 50 built-in sentences each. Its checks are order 0.97, Kendall's tau of
    the order of a query's passages, and score_error 0.05, the largest difference of a score between 0 and 1.

    MODEL is a bundle's directory  [default: m3-tiny, which comes with m3rt; env var: M3RT_MODEL].
    """
    from ..bundle import check_hashes, open_bundle
    from ..engines.profile import check_saved

    only_with("--against, the bundle to compare with", against, "data", "limits")
    only_with("--data", data, "split", "max_queries")
    bundle = open_bundle(model)
    with bar(total=bundle.size(), desc="hashes", unit="B", unit_scale=True) as progress:
        check_hashes(bundle, progress.update)
        check_saved(bundle, progress.update)
    report = _golden(bundle, model, runtime)
    passed = report.passed
    gate = _gate(bundle, against, data, split, max_queries, limits, runtime) if against and passed else None
    if as_json:
        result: dict[str, Any] = {"path": model, "files": len(bundle.manifest.files), "bytes": bundle.size()}
        result |= {
            "texts": report.texts,
            "differences": dict(report.differences),
            "tolerance": report.tolerance,
            "passed": passed,
        }
        emit_json(result | ({"fidelity": {gate.engine: gate.to_json()}} if gate else {}), indent=2)
    else:
        emit_text(f"{counted(len(bundle.manifest.files), 'file')}, {size(bundle.size())}: hashes match")
        noun = "golden pair" if bundle.manifest.kind == "reranker" else "golden text"
        emit_text(f"{counted(report.texts, noun)}, largest difference (tolerance {report.tolerance:g}):")
        for name, difference in report.differences.items():
            emit_text(f"  {name:<16}{difference:.2g}")
    if not passed:
        wrong = [name for name, d in report.differences.items() if not d <= report.tolerance]
        say(f"error: {', '.join(wrong)} differ from what {model} gave when it was exported; export it again here")
        raise click.exceptions.Exit(1)
    if gate:
        from .parts.gate import refuse, table

        if not as_json:
            emit_text(*table(gate).splitlines())
        refuse(bundle, [gate])


def _golden(bundle: Bundle, model: str, runtime: dict[str, Any]) -> GoldenReport:
    from ..bundle.golden import check, check_pairs
    from ..encoder import M3Encoder
    from ..reranker import M3Reranker

    if bundle.manifest.kind == "reranker":
        return check_pairs(M3Reranker(model, **runtime), bundle)
    return check(M3Encoder(model, **runtime), bundle)


def _gate(
    bundle: Bundle,
    against: str,
    data: tuple[str, ...],
    split: str,
    max_queries: int | None,
    limits: tuple[str, ...],
    runtime: dict[str, Any],
) -> Gate:
    from ..bundle import open_bundle
    from ..evaluation import read_dataset, task
    from ..host.extras import need
    from .parts.gate import parsed, pass_through

    if data and bundle.manifest.kind == "reranker":
        raise InputError(f"{bundle.path} is a reranker, which is compared on built-in pairs; leave out --data")
    need("eval", *["ir_measures"] * bool(data))
    numbers, reference = parsed(limits, bundle.manifest), open_bundle(against)
    tasks = [task(read_dataset(path, split=split, warn=say), max_queries=max_queries, warn=say) for path in data]
    return pass_through(bundle, reference, runtime, tasks=tasks, limits=numbers)
