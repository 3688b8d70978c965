"""Answers: queries become embeddings, embeddings become ranked rows, and rows become hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..bundle.heads import HEAD_NAMES, Heads
from ..embeddings import Embeddings
from .query_texts import check_tokens, checked_queries
from .search.lexical import SparseQuery
from .search.options import Options
from .search.query import QueryViews, query_of
from .search.ranking import Clock, RankedRows, rank
from .search.result import Hit, SearchResult
from .store.documents import read_row
from .store.snapshot import Snapshot

if TYPE_CHECKING:
    from ..encoder import M3Encoder


def answer(
    snapshot: Snapshot,
    queries: Iterable[str] | Embeddings,
    options: Options,
    explain: bool,
    encoder: Callable[[], M3Encoder],
    threads: int | None,
) -> list[SearchResult]:
    """A result for each of n queries; the seconds of the first one include those of embedding all texts.

    encoder: called only if the queries are texts. explain: give the terms of each hit.
    """
    clock = Clock()
    settings = snapshot.manifest.settings
    views = options.views(settings)
    if not isinstance(queries, Embeddings):
        texts = checked_queries(queries)
        model = encoder()
        check_tokens(model, texts)
        queries = model.encode_queries(texts, **Heads(*(head in views for head in HEAD_NAMES)).keywords())
        clock.lap("encode")
    results = []
    for i in range(len(queries)):
        query = query_of(queries, i, views, settings, threads)
        ranking = rank(snapshot, query, options, clock)
        hits = tuple(_hits(snapshot, query, ranking, explain))
        clock.lap("read")
        results.append(SearchResult(hits, clock.seconds(), bool(queries.truncated[i])))
        clock = Clock()
    return results


def _hits(snapshot: Snapshot, query: QueryViews, ranking: RankedRows, explain: bool) -> Iterator[Hit]:
    lexical = query.get("sparse") if explain else None
    for i, row in enumerate(ranking.rows.tolist()):
        segment, place = snapshot.place(row)
        document = read_row(segment.arrays, place)
        terms = lexical.shared(segment, place) if isinstance(lexical, SparseQuery) else None
        scores = {view: float(values[i]) for view, values in ranking.by_view.items()}
        yield Hit(
            document.id,
            float(ranking.scores[i]),
            scores,
            document.text,
            document.metadata or {},
            document.span,
            terms,
        )
