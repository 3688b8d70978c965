"""m3rt rerank: passages of a file by their relevance to a query."""

from __future__ import annotations

from typing import Any

import click

from ..errors import InputError
from ..input import TextFile
from ..values.counts import counted
from .parts.console import bar, emit_json, say
from .parts.options import FORMAT, input_option, runtime_options


@click.command("rerank")
@click.argument("bundle")
@click.argument("query")
@input_option("Passages to read; - is stdin.", required=True)
@FORMAT
@click.option("--field", default="text", help="The key or column that holds the passage.")
@click.option("-k", "--top-k", type=click.IntRange(min=1), help="Passages to give.  [default: all]")
@click.option("--normalize", is_flag=True, help="Scores from 0 to 1 by a sigmoid, not logits.")
@click.option("--max-length", type=int, help="Tokens kept of query and passage.  [default: what the model takes]")
@click.option("--query-max-length", type=int, help="Tokens kept of the query.  [default: 3/4 of --max-length]")
@runtime_options
def command(
    bundle: str, query: str, source: str, input_format: str | None, field: str, top_k: int | None, normalize: bool,
    max_length: int | None, query_max_length: int | None, **runtime: Any,
) -> None:  # fmt: skip
    """Order passages by their relevance to a query.

    \b
    m3rt rerank bge-reranker-v2-m3-int8 "How tall is Tokyo Tower?" -i passages.jsonl -k 5

    BUNDLE is the directory of a reranker's bundle. The input is what m3rt encode reads, an "_id" or "id" beside the
    text included. The output is JSON lines on stdout, the best passage first: index, its place in the input from 0,
    id if it has one, score, truncated, text.
    """
    from ..reranker import M3Reranker

    reranker = M3Reranker(bundle, **runtime)
    limits: dict[str, Any] = {"max_length": max_length, "query_max_length": query_max_length}
    reranker.rank(query, [], **limits)  # unusable options are refused before a long input is read
    records = list(TextFile(source, input_format, field))
    if not records:
        raise InputError(f"{source} holds no passages, expected at least one")
    with bar(total=len(records), desc="rerank", unit=" pairs") as progress:
        ranked = reranker.rank(
            query,
            [record.text for record in records],
            normalize=normalize,
            show_progress=lambda pairs, tokens: progress.update(pairs),
            **limits,
        )
    if cut := sum(r.truncated for r in ranked):
        say(f"{cut} of {counted(len(ranked), 'pair')} cut to {max_length or reranker.manifest.max_tokens} tokens")
    for r in ranked[:top_k]:
        record = records[r.index]
        known = {} if record.id is None else {"id": record.id}
        emit_json({"index": r.index, **known, "score": r.score, "truncated": r.truncated, "text": record.text})
