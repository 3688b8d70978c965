"""m3rt search: ranked documents for a query."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import click

from ..errors import InputError
from ..index.choices import MODES
from ..values.counts import counted
from ..values.printable import plain
from .parts.console import emit_json, emit_styled, say
from .parts.filters import FILTER, filter_of
from .parts.opened_index import opened_index
from .parts.options import only_with, runtime_options

if TYPE_CHECKING:
    from ..encoder import M3Encoder
    from ..index import Hit, SearchResult
    from ..reranker import M3Reranker

_ID_CHARACTERS = 120  # characters of an id that a person sees; --json prints the whole id


@click.command("search")
@click.argument("index")
@click.argument("query")
@click.option("-k", "k", type=int, default=10, help="Documents to show.")
@click.option("--mode", type=click.Choice(MODES), default=MODES[0], help="All that the index stores, or one view.")
@FILTER
@click.option("--rrf", is_flag=True, help="Fuse by ranks instead of scores.")
@click.option("--weights", metavar="D,S,C", help="Weights of dense, sparse and ColBERT scores.  [default: 1,0.3,1]")
@click.option("--candidates", type=int, default=100, help="Documents of the first stage that are ranked by all views.")
@click.option("--no-colbert", is_flag=True, help="Rank without ColBERT's scores.")
@click.option("--rerank", "reranker", metavar="BUNDLE", help="A reranker's bundle, which has the last word.")
@click.option("--rerank-candidates", type=int, default=30, help="Documents that --rerank reads with the query.")
@click.option("--exact", is_flag=True, help="Score every dense vector, also in a large index.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
@click.option("--explain", is_flag=True, help="Scores of each view, matched terms, and the time of each stage.")
@click.option("-m", "--model", help="The bundle, if it is not where it was when the index was built.")
@runtime_options
def command(
    index: str, query: str, k: int, mode: Any, filters: tuple[str, ...], rrf: bool, weights: str | None,
    candidates: int, no_colbert: bool, reranker: str | None, rerank_candidates: int, exact: bool,
    as_json: bool, explain: bool, model: str | None, **runtime: Any,
) -> None:  # fmt: skip
    """Search an index.

    \b
    m3rt search my-index "How tall is Tokyo Tower?"
    m3rt search my-index "Tokyo" -k 3 --filter lang=ja --json
    m3rt search my-index "Who built Tokyo Tower?" --rerank bge-reranker-v2-m3-int8

    Documents are ranked by the weighted mean of their scores, of which --explain shows each. On a terminal the words
    that the query shares with a text are bold; NO_COLOR turns that off.
    """
    if rrf and weights:
        raise click.UsageError("Expected --rrf or --weights, not both.")
    only_with("--mode hybrid", mode == MODES[0], "rrf", "weights")
    only_with("--rerank", reranker, "rerank_candidates")
    searched = opened_index(index, model, runtime)
    options: dict[str, Any] = {"mode": mode, "candidates": candidates, "rerank": not no_colbert, "explain": True}
    options |= {"filter": filter_of(filters), "exact": exact}
    if reranker:
        options |= {"rerank": _reranker(reranker, no_colbert, runtime), "rerank_candidates": rerank_candidates}
    if rrf or weights:
        options["fusion"] = "rrf" if rrf else _weights(str(weights))
    result = searched.search(query, k, **options)
    if result.truncated:
        say(f"the query was cut to {searched.encoder.manifest.max_tokens} tokens")
    if result.cut_pairs:
        say(f"{counted(result.cut_pairs, 'pair')} of query and document cut to what the reranker takes")
    if as_json:
        emit_json(_values(query, result, searched.encoder))
    else:
        emit_styled(_lines(result, searched.encoder, explain))


def _reranker(bundle: str, no_colbert: bool, runtime: dict[str, Any]) -> M3Reranker:
    if no_colbert:
        raise click.UsageError("Expected --rerank or --no-colbert, not both.")
    from ..reranker import M3Reranker

    return M3Reranker(bundle, **runtime)


def _weights(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise InputError(f"--weights is {text!r:.60}, expected three numbers such as 1,0.3,1") from None


def _values(query: str, result: SearchResult, encoder: M3Encoder) -> dict[str, Any]:
    hits = [
        {
            "id": hit.id,
            "score": hit.score,
            "scores": dict(hit.scores),
            "text": hit.text,
            "metadata": dict(hit.metadata),
            "span": hit.span,
            "terms": None if hit.terms is None else _tokens(encoder, hit.terms),
        }
        for hit in result
    ]
    return {"query": query, "hits": hits, "seconds": dict(result.seconds)}


def _lines(result: SearchResult, encoder: M3Encoder, explain: bool) -> Iterator[str]:
    if not result.hits:
        yield "nothing found"
    style = _style()
    show = _shower(encoder, partial(style, "1"))
    for rank, hit in enumerate(result, 1):
        scores = "".join(f"  {view} {score:.3f}" for view, score in hit.scores.items()) if explain else ""
        place = f"  characters {hit.span[0]}-{hit.span[1]}" if hit.span else ""
        yield f"{rank:>3}  {hit.score:.4f}  {style('36', _short(hit.id))}{style('2', scores + place)}"
        if hit.text:
            yield f"     {show(hit)}"
        if explain and hit.terms:
            best = list(_tokens(encoder, hit.terms).items())[:8]
            yield style("2", "     " + plain(", ".join(f"{token} {weight:.3f}" for token, weight in best)))
    if explain:
        stages = ", ".join(f"{stage} {1e3 * seconds:.1f}" for stage, seconds in result.seconds.items())
        yield style("2", f"ms: {stages}")


def _short(name: str) -> str:
    return plain(name if len(name) <= _ID_CHARACTERS else f"{name[: _ID_CHARACTERS - 1]}…")


def _tokens(encoder: M3Encoder, terms: Mapping[int, float]) -> dict[str, float]:
    return cast("dict[str, float]", encoder.convert_id_to_token(terms))


def _shower(encoder: M3Encoder, mark: Callable[[str], str]) -> Callable[[Hit], str]:
    from .parts.snippet import snippet

    tokenizer = encoder.tokenizer

    def tokens(words: Sequence[str]) -> list[list[int]]:
        out = tokenizer.encode(words, encoder.manifest.max_tokens)
        return [out.ids[a:b].tolist() for a, b in zip(out.offsets, out.offsets[1:], strict=False)]

    return lambda hit: snippet(hit.text or "", hit.terms or {}, tokens, tokenizer.decode, mark)


def _style() -> Callable[[str, str], str]:
    """A function that marks a text by an escape code, or returns it unchanged where no terminal shows it."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return lambda code, text: f"\x1b[{code}m{text}\x1b[0m" if text else ""
    return lambda code, text: text
