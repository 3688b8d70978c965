"""A task: a data set, and which documents each query is searched among."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .dataset import Dataset, Note, Relevant, _count

Languages = Literal["own", "others", "each"]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A data set and, for each of its queries, a mask (documents,) bool of its candidates; queries share masks.

    own: for each query the document that has its id, which is no candidate, or None; empty where no query has one.
    """

    data: Dataset
    pools: tuple[NDArray[np.bool_], ...]
    own: tuple[int | None, ...] = ()

    def candidates(self) -> Iterator[NDArray[np.bool_]]:
        """The mask of each query in turn, without its own document."""
        for pool, own in zip_longest(self.pools, self.own):
            if own is None:
                yield pool
            else:
                others = pool.copy()
                others[own] = False
                yield others


def task(data: Dataset, *, among: Languages = "own", most: int | None = None, note: Note = lambda line: None) -> Task:
    """What is searched among what.

    among "own": a query whose relevant documents are all of its own language is searched among the documents of that
    language, any other among all. "others": it is searched among the documents of all other languages at once, and
    those of its own group are relevant, or where it has none, those of its judgements. "each": the same, but once for
    each language that has relevant documents, among the documents of that one alone. most: queries kept, drawn with a
    fixed seed. A query that is a document too, by its id, is no candidate for itself, as in BEIR (its
    ignore_identical_ids), unless it was judged relevant. note: called with a line about what is left out. Raises
    InputError when no query is left.
    """
    if among != "own":
        data = _crossed(data, note)
    if among == "each":
        data = _paired(data)
    if most is not None and most < len(data.queries):
        note(f"{data.name}: {most:,} of {len(data.queries):,} queries, drawn with a fixed seed")
        data = data.take(sorted(np.random.default_rng(0).choice(len(data.queries), most, replace=False).tolist()))
    langs = np.array([lang or "" for lang in data.corpus.langs])
    masks: dict[str | None, NDArray[np.bool_]] = {None: np.ones(len(langs), np.bool_)}
    pools = []
    for lang, relevant in zip(data.queries.langs, data.relevant, strict=True):
        found = {data.corpus.langs[d] for d in relevant}
        key = lang if among == "others" or found == {lang} else found.pop() if among == "each" else None
        if key not in masks:
            masks[key] = langs != key if among == "others" else langs == key
        pools.append(masks[key])
    return Task(data, tuple(pools), _own(data, pools, note))


def _own(data: Dataset, pools: Sequence[NDArray[np.bool_]], note: Note) -> tuple[int | None, ...]:
    documents = {key: i for i, key in enumerate(data.corpus.ids)}
    own = [documents.get(key) for key in data.queries.ids]
    own = [
        i if i is not None and pool[i] and i not in relevant else None
        for i, pool, relevant in zip(own, pools, data.relevant, strict=True)
    ]
    found = [key for key, i in zip(data.queries.ids, own, strict=True) if i is not None]
    if found:
        note(f"{data.name}: {_count(found, 'query')} with the id of a document, left out of its own results as in BEIR")
    return tuple(own) if found else ()


def _crossed(data: Dataset, note: Note) -> Dataset:
    members: dict[str | None, list[int]] = {}
    for i, group in enumerate(data.corpus.groups):
        members.setdefault(group, []).append(i)
    relevant: list[Relevant] = []
    for lang, group, judged in zip(data.queries.langs, data.queries.groups, data.relevant, strict=True):
        grades = dict.fromkeys(members.get(group, []), 1) if group else judged
        foreign = {d: grade for d, grade in grades.items() if lang and data.corpus.langs[d] not in (None, lang)}
        # A group of the queries that no document has leaves what people judged.
        relevant.append(
            foreign or {d: g for d, g in judged.items() if lang and data.corpus.langs[d] not in (None, lang)}
        )
    kept = [i for i, found in enumerate(relevant) if found]
    if not kept:
        raise InputError(
            f"{data.name}: no query has a relevant document in another language; "
            "leave --cross-lingual or --language-pairs out"
        )
    if lost := [data.queries.ids[i] for i, found in enumerate(relevant) if not found]:
        note(f"{data.name}: {_count(lost, 'query')} without a relevant document in another language; left out")
    return Dataset(data.name, data.corpus, data.queries, tuple(relevant)).take(kept)


def _paired(data: Dataset) -> Dataset:
    """Each query once for each language of its relevant documents, with those alone."""
    places: list[int] = []
    relevant: list[Relevant] = []
    for i, judged in enumerate(data.relevant):
        by_lang: dict[str | None, dict[int, int]] = {}
        for d, grade in judged.items():
            by_lang.setdefault(data.corpus.langs[d], {})[d] = grade
        places += [i] * len(by_lang)
        relevant += by_lang.values()
    return Dataset(data.name, data.corpus, data.queries.take(places), tuple(relevant))
