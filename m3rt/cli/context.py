"""m3rt context: what an index holds about a question, as a text for a prompt."""

from __future__ import annotations

from typing import Any

import click

from ..index.choices import MODES
from ..values.counts import counted
from .parts.console import emit_json, emit_text, say
from .parts.filters import FILTER, filter_of
from .parts.opened_index import opened_index
from .parts.options import runtime_options


@click.command("context")
@click.argument("index")
@click.argument("question")
@click.option("--tokens", type=int, default=2000, help="The most tokens of the text, as the model counts them.")
@click.option("-k", "k", type=int, default=30, help="The best chunks, from which the text is made.")
@click.option("--mode", type=click.Choice(MODES), default=MODES[0], help="All that the index stores, or one view.")
@FILTER
@click.option("--rerank", "reranker", metavar="BUNDLE", help="A reranker's bundle, which has the last word.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
@click.option("-m", "--model", help="The bundle, if it is not where it was when the index was built.")
@runtime_options
def command(
    index: str, question: str, tokens: int, k: int, mode: Any, filters: tuple[str, ...], reranker: str | None,
    as_json: bool, model: str | None, **runtime: Any,
) -> None:  # fmt: skip
    """Collect the best chunks for a question, ready for a prompt.

    \b
    m3rt context my-index "How tall is Tokyo Tower?" --tokens 1000
    m3rt context my-index "Who built it?" --rerank bge-reranker-v2-m3-int8 --json

    Each passage stands below a heading with its document's id and its characters. Documents come in the order of their
    best chunk, passages in the order of the text; chunks that overlap are joined, and a text that several documents
    hold comes once. --tokens counts headings too.
    """
    searched = opened_index(index, model, runtime)
    options: dict[str, Any] = {"k": k, "mode": mode, "filter": filter_of(filters)}
    if reranker:
        from ..reranker import M3Reranker

        options["rerank"] = M3Reranker(reranker, **runtime)
    found = searched.context(question, tokens, **options)
    if found.result.truncated:
        say(f"the question was cut to {searched.encoder.manifest.max_tokens} tokens")
    if found.result.cut_pairs:
        say(f"{counted(found.result.cut_pairs, 'pair')} of question and chunk cut to what the reranker takes")
    if found.left_out:
        say(f"{found.left_out} of {counted(len(found.result), 'chunk')} did not fit into {counted(tokens, 'token')}")
    if not found.passages:
        say("nothing found")
    if as_json:
        emit_json(found.to_json())
    else:
        emit_text(*found.text.splitlines())
