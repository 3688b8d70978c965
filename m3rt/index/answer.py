"""Answers: queries become embeddings, embeddings become ranked rows, and rows become hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..bundle.heads import HEAD_NAMES, Heads
from ..embeddings import Embeddings
from ..errors import InputError
from .query_texts import check_tokens, checked_queries
from .reranking import reranked
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
    texts: list[str] = []
    if isinstance(queries, Embeddings):
        if options.reranker:
            raise InputError("embeddings hold no text, which a reranker reads; give the query itself")
    else:
        texts = checked_queries(queries)
        model = encoder()
        check_tokens(model, texts)
        queries = model.encode_queries(texts, **Heads(*(head in views for head in HEAD_NAMES)).keywords())
        clock.lap("encode")
    results = []
    for i in range(len(queries)):
        query = query_of(queries, i, views, settings, threads, exact=options.exact)
        ranking = rank(snapshot, query, options.before_reranking, clock)
        hits, cut_pairs = tuple(_hits(snapshot, query, ranking, explain)), 0
        clock.lap("read")
        if options.reranker:
            hits, cut_pairs = reranked(options.reranker, texts[i], hits, options.k)
            clock.lap("rerank")
        results.append(SearchResult(hits, clock.seconds(), bool(queries.truncated[i]), cut_pairs))
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
