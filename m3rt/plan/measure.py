"""Measures views x precisions x dimensions on labelled data: quality with intervals, latency, bytes, dollars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from m3rt_kernels import InvertedIndex, top_k
from numpy.typing import NDArray

from ..batching.collect import truncated_to
from ..embeddings import WEIGHTS
from ..encoder import M3Encoder, Progress
from ..evaluation import Difference, Task, difference
from ..evaluation.measures import MAIN, measure
from ..evaluation.modes import DEPTH, MODES
from ..evaluation.views import EmbeddedTask, embed
from ..index.store.precisions import COLBERT, DENSE
from ..index.store.signs import derive_signs, find, has_signs
from ..values.arguments import whole_number
from .questions import MIN_UNMEASURED_DIM

RECALL = "Recall@100"
TIMED_QUERIES = 100
_RESCORED = 200  # documents that ColBERT reorders
MARGIN = 0.01  # of nDCG@10 that a smaller choice may lose: a point

Scores = NDArray[np.float32]  # (queries, documents)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is stored: dense vectors of so many components and a precision, lexical weights, ColBERT vectors."""

    dim: int | None
    dense: str | None
    sparse: bool
    colbert: str | None

    def __str__(self) -> str:
        parts = [f"dense {self.dense} {self.dim}"] * bool(self.dense) + ["sparse"] * self.sparse
        return " + ".join(parts + [f"colbert {self.colbert}"] * bool(self.colbert))

    @property
    def mode(self) -> str:
        """The evaluation's name of the ranking by these views."""
        views = [v for v, there in zip(WEIGHTS, (self.dense, self.sparse, self.colbert), strict=True) if there]
        return "all" if len(views) == 3 else "+".join(views)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A choice, nDCG@10 and Recall@100 of each query (queries,), bytes a document, and seconds of each timed query."""

    choice: Choice
    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]
    bytes: float
    seconds: NDArray[np.float64]

    def interval(self, values: NDArray[np.float64]) -> Difference:
        """The mean of some values of queries and its 95% bootstrap interval."""
        return difference([values], [np.zeros_like(values)])

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the timed queries, model and search."""
        return float(1000 * np.percentile(self.seconds, 99))

    def dollars(self, an_hour: float) -> float:
        """What a million queries cost, one after the other, on a machine of that price."""
        return float(self.seconds.mean() * 1e6 / 3600 * an_hour)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The scores of one stored form of a view, its bytes a document, and the seconds of each timed query.

    alone: the scores of a search by this view alone, -inf where it does not find a document.
    """

    scores: Scores
    bytes: float
    seconds: NDArray[np.float64]
    alone: Scores | None = None


def dims_of(encoder: M3Encoder, asked: Sequence[int] = ()) -> list[int]:
    """All components, what the model was trained for, a half and a quarter, and what is asked; 64 or more by itself."""
    full = encoder.manifest.dim
    own = [
        d for d in (*encoder.manifest.matryoshka_dims, full // 2, full // 4) if d >= MIN_UNMEASURED_DIM and d % 8 == 0
    ]
    return sorted({full, *own, *(whole_number("dim", d, 8, full) // 8 * 8 for d in asked)}, reverse=True)


def measure_choices(
    encoder: M3Encoder, task: Task, *, dims: Sequence[int] = (), progress: Progress = lambda texts, tokens: None
) -> list[Measured]:
    """Embed a task once, and rank its documents for its queries by everything that could be stored.

    ColBERT is left out where its vectors of all documents are too many to keep. Every ranking is exact. A timed query
    is encoded, reads all dense vectors and the lists of its terms, and reorders 200 documents by ColBERT.
    Raises InputError when a package of the extra `eval` is not installed.
    """
    embedded = embed(encoder, task, progress)
    base = _timed(lambda i: encoder.encode_queries([task.data.queries.texts[i]], **encoder.manifest.heads.keywords()))
    encoding = base(len(task.data.queries))
    precisions = [p for p in DENSE if p != "binary+int8" or has_signs(p, len(task.data.corpus))]  # else it is int8
    dense = {(d, p): _dense(embedded, d, p) for d in dims_of(encoder, dims) for p in precisions}
    sparse = _sparse(embedded) if embedded.corpus.sparse is not None else None
    colbert = {p: _colbert(embedded, p) for p in COLBERT} if embedded.corpus.multi is not None else {}
    found = []
    for choice in _choices(list(dense), sparse is not None, list(colbert)):
        views: dict[str, _View] = {}
        if choice.dense and choice.dim:
            views["dense"] = dense[choice.dim, choice.dense]
        if choice.sparse and sparse:
            views["sparse"] = sparse
        if choice.colbert:
            views["colbert"] = colbert[choice.colbert]
        found.append(_measured(choice, views, task, encoding))
    return found


def pareto(measured: Sequence[Measured]) -> list[Measured]:
    """Those that no other one beats in nDCG@10 with as few bytes, smallest first."""
    front: list[Measured] = []
    for m in sorted(measured, key=lambda m: (m.bytes, -m.ndcg.mean())):
        if not front or m.ndcg.mean() > front[-1].ndcg.mean():
            front.append(m)
    return front


def best_choice(measured: Sequence[Measured]) -> Measured:
    """The smallest one that loses less than a point of nDCG@10 to the best: by the 95% interval of their difference.

    On few queries hardly any loss is certain to be small, and the best itself is chosen.
    """
    best = max(measured, key=lambda m: m.ndcg.mean())
    close = [m for m in measured if m is best or difference([best.ndcg], [m.ndcg]).high <= MARGIN]
    return min(close, key=lambda m: (m.bytes, -m.ndcg.mean()))


def _choices(dense: Sequence[tuple[int, str]], sparse: bool, colbert: Sequence[str]) -> Iterator[Choice]:
    if sparse:
        yield Choice(None, None, True, None)
    for name in colbert:
        yield Choice(None, None, False, name)
    for dim, precision in dense:
        yield Choice(dim, precision, False, None)
        if sparse:
            yield Choice(dim, precision, True, None)
            yield from (Choice(dim, precision, True, name) for name in colbert)


def _measured(choice: Choice, views: Mapping[str, _View], task: Task, encoding: NDArray[np.float64]) -> Measured:
    mode = MODES[choice.mode]
    rankings = [
        mode.rank(
            {
                name: (view.scores if view.alone is None or len(views) > 1 else view.alone)[i]
                for name, view in views.items()
            },
            pool,
        )
        for i, pool in enumerate(task.candidates())
    ]
    values = measure(task.data.relevant, rankings, [MAIN, RECALL])
    seconds = encoding + np.sum([view.seconds for view in views.values()], axis=0)
    return Measured(choice, values[MAIN], values[RECALL], sum(view.bytes for view in views.values()), seconds)


def _timed(call: Callable[[int], object]) -> Callable[[int], NDArray[np.float64]]:
    """Time call(i) for the first queries, 100 or fewer, after one that does not count."""

    def run(queries: int) -> NDArray[np.float64]:
        times = []
        for i in [0, *range(min(queries, TIMED_QUERIES))]:
            start = time.perf_counter()
            call(i)
            times.append(time.perf_counter() - start)
        return np.array(times[1:])

    return run


def _dense(embedded: EmbeddedTask, dim: int, name: str) -> _View:
    assert embedded.queries.dense_vecs is not None
    assert embedded.corpus.dense_vecs is not None
    queries, vectors = truncated_to(embedded.queries.dense_vecs, dim), truncated_to(embedded.corpus.dense_vecs, dim)
    precision, rows = DENSE[name], np.arange(len(vectors))
    vectors_stored = precision.encode(vectors)
    signs = derive_signs(name, vectors_stored, len(rows), dim)
    stored = {**vectors_stored, **signs}
    scores = np.stack([precision.score(stored, query, rows) for query in queries])
    seconds = _timed(lambda i: find(precision, stored, queries[i], DEPTH, None, None))(len(queries))
    alone = None
    if signs:
        alone = np.full_like(scores, -np.inf)
        for i, query in enumerate(queries):
            chosen, values = find(precision, stored, query, DEPTH, None, None)
            alone[i, chosen] = values
    return _View(scores, sum(a.nbytes for a in stored.values()) / max(1, len(rows)), seconds, alone)


def _sparse(embedded: EmbeddedTask) -> _View:
    q, c = embedded.queries.sparse, embedded.corpus.sparse
    assert q is not None
    assert c is not None
    only = EmbeddedTask(
        replace(embedded.queries, dense_vecs=None, multi=None), replace(embedded.corpus, dense_vecs=None, multi=None)
    )
    scores = np.stack([row["sparse"] for row in only.each()])
    index = InvertedIndex.build(c.indptr, c.indices, c.values)
    seconds = _timed(lambda i: index.search(*q.row(i), DEPTH))(len(q))
    return _View(scores, 16 * len(c.indices) / max(1, len(c)), seconds)


def _colbert(embedded: EmbeddedTask, name: str) -> _View:
    q, c = embedded.queries.multi, embedded.corpus.multi
    assert q is not None
    assert c is not None
    precision, rows = COLBERT[name], np.arange(len(c))
    stored = {**precision.encode(c.vectors), "offsets": c.offsets}
    scores = np.stack([precision.maxsim(stored, q.row(i), rows, None) for i in range(len(q))])
    best = [top_k(row, _RESCORED)[0] for row in scores[:TIMED_QUERIES]]
    seconds = _timed(lambda i: precision.find_maxsim(stored, q.row(i), best[i], 10, None))(len(q))
    return _View(scores, sum(a.nbytes for a in stored.values()) / max(1, len(c)), seconds)
