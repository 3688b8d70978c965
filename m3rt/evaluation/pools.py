"""A task: a data set, and for each query the pool of documents that it is searched among."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .dataset import Dataset, Grades, Warn, count

Languages = Literal["own", "others", "each"]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A data set and, for each of its queries, a mask (documents,) bool of its candidates; queries share masks.

    same_id: for each query the document with the query's id, which is no candidate, or None; empty where no query has
    one.
    """

    data: Dataset
    pools: tuple[NDArray[np.bool_], ...]
    same_id: tuple[int | None, ...] = ()

    def candidates(self) -> Iterator[NDArray[np.bool_]]:
        """Yield the mask of each query in turn, without the document that has the query's id."""
        for pool, same in zip_longest(self.pools, self.same_id):
            if same is None:
                yield pool
            else:
                candidates = pool.copy()
                candidates[same] = False
                yield candidates


def task(
    data: Dataset, *, among: Languages = "own", max_queries: int | None = None, warn: Warn = lambda line: None
) -> Task:
    """Pair each query with the documents that it is searched among.

    among "own": a query whose relevant documents all have its language is searched among the documents of that
    language, any other query among all documents. "others": each query is searched among the documents of all other
    languages at once; the documents of its group are relevant, or the judged ones where the group has none there.
    "each": as "others", but once for each language that has relevant documents, among the documents of that language.
    max_queries: how many are kept, drawn with a fixed seed. A document with the id of a query is no candidate for it,
    as in BEIR (ignore_identical_ids), unless it was judged relevant. warn: called with a line about everything that is
    left out. Raises InputError when no query is left.
    """
    if among != "own":
        data = _crossed(data, warn)
    if among == "each":
        data = _paired(data)
    if max_queries is not None and max_queries < len(data.queries):
        warn(f"{data.name}: {max_queries:,} of {len(data.queries):,} queries, drawn with a fixed seed")
        drawn = np.random.default_rng(0).choice(len(data.queries), max_queries, replace=False)
        data = data.take(sorted(drawn.tolist()))
    langs = np.array([lang or "" for lang in data.corpus.langs])
    masks: dict[str | None, NDArray[np.bool_]] = {None: np.ones(len(langs), np.bool_)}
    pools = []
    for lang, relevant in zip(data.queries.langs, data.relevant, strict=True):
        wanted = {data.corpus.langs[d] for d in relevant}
        key = lang if among == "others" or wanted == {lang} else wanted.pop() if among == "each" else None
        if key not in masks:
            masks[key] = langs != key if among == "others" else langs == key
        pools.append(masks[key])
    return Task(data, tuple(pools), _same_id(data, pools, warn))


def _same_id(data: Dataset, pools: Sequence[NDArray[np.bool_]], warn: Warn) -> tuple[int | None, ...]:
    documents = {key: i for i, key in enumerate(data.corpus.ids)}
    same = [documents.get(key) for key in data.queries.ids]
    same = [
        i if i is not None and pool[i] and i not in relevant else None
        for i, pool, relevant in zip(same, pools, data.relevant, strict=True)
    ]
    keys = [key for key, i in zip(data.queries.ids, same, strict=True) if i is not None]
    if keys:
        warn(f"{data.name}: {count(keys, 'query')} with the id of a document, left out of its own results as in BEIR")
    return tuple(same) if keys else ()


def _crossed(data: Dataset, warn: Warn) -> Dataset:
    """Keep the queries with relevant documents in other languages, and those documents alone as relevant ones."""

    def abroad(grades: Grades, lang: str | None) -> Grades:
        return {d: grade for d, grade in grades.items() if lang and data.corpus.langs[d] not in (None, lang)}

    members: dict[str | None, list[int]] = {}
    for i, group in enumerate(data.corpus.groups):
        members.setdefault(group, []).append(i)
    relevant: list[Grades] = []
    for lang, group, judged in zip(data.queries.langs, data.queries.groups, data.relevant, strict=True):
        grades = dict.fromkeys(members.get(group, []), 1) if group else judged
        # Where the group has no document in another language, the judgements count.
        relevant.append(abroad(grades, lang) or abroad(judged, lang))
    places = [i for i, grades in enumerate(relevant) if grades]
    if not places:
        raise InputError(
            f"{data.name}: no query has a relevant document in another language; "
            "leave --cross-lingual or --language-pairs out"
        )
    if dropped := [data.queries.ids[i] for i, grades in enumerate(relevant) if not grades]:
        warn(f"{data.name}: {count(dropped, 'query')} without a relevant document in another language; left out")
    return Dataset(data.name, data.corpus, data.queries, tuple(relevant)).take(places)


def _paired(data: Dataset) -> Dataset:
    """Repeat each query for each language of its relevant documents; each copy keeps the documents of one."""
    places: list[int] = []
    relevant: list[Grades] = []
    for i, judged in enumerate(data.relevant):
        by_lang: dict[str | None, dict[int, int]] = {}
        for d, grade in judged.items():
            by_lang.setdefault(data.corpus.langs[d], {})[d] = grade
        places += [i] * len(by_lang)
        relevant += by_lang.values()
    return Dataset(data.name, data.corpus, data.queries.take(places), tuple(relevant))
