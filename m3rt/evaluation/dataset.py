"""A labelled data set: a directory of documents, queries and judgements. Its flaws are reported, not raised."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..input import Record, TextFile
from ..values.counts import counted

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_HEADER = {"query-id", "query_id", "query", "qid", "queryid", "topic"}
_NUMBER = re.compile(r"[+-]?\d*\.?\d+(e[+-]?\d+)?", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,9}(\.0*)?", re.ASCII)
_HIGHEST_GRADE = 1_000_000  # trec_eval allocates memory for every grade below the highest
_FLAWS = {  # of judgements, and how each is handled
    "query": "of an unknown query; left out",
    "document": "of an unknown document; left out",
    "again": "with another grade than an earlier one of the same document; the last counts, as in BEIR",
}

Warn = Callable[[str], object]  # takes one line
Grades = Mapping[int, int]  # place of a relevant document -> grade > 0


@dataclass(frozen=True, slots=True)
class Texts:
    """Documents or queries: the id and text of each, and its language and group where the data set names them."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    langs: tuple[str | None, ...]
    groups: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: list[int]) -> Texts:
        """Return the texts at `places`, in that order."""
        columns = (self.ids, self.texts, self.langs, self.groups)
        return Texts(*(tuple(column[i] for i in places) for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Documents and queries, and for each query the grades of the documents that are relevant to it."""

    name: str
    corpus: Texts
    queries: Texts
    relevant: tuple[Grades, ...]

    def take(self, places: list[int]) -> Dataset:
        """Return the data set with all documents and only the queries at `places`."""
        return Dataset(self.name, self.corpus, self.queries.take(places), tuple(self.relevant[i] for i in places))


def read_dataset(directory: str | Path, *, split: str = "test", warn: Warn = lambda line: None) -> Dataset:
    """Read a directory in BEIR's layout (arXiv:2104.08663), or with ids in "id" and judgements in qrels.tsv.

    corpus.jsonl has "_id", or else "id", and "text", and may have "title" (put before the text), "lang" and "group".
    queries.jsonl has the same without titles. qrels/SPLIT.tsv, the only file of qrels/, or qrels.tsv has query,
    document and grade, separated by tabs, with or without a header, or TREC's four columns, separated by tabs or
    spaces. A grade is a whole number; above 0 it means relevant. warn: called with a line for each kind of flaw that
    leaves the rest usable: unknown or repeated ids, contradicting judgements, empty documents, queries without a
    relevant document. Raises InputError for every other flaw.
    """
    path = Path(directory)
    for name in (CORPUS, QUERIES):
        if not (path / name).is_file():
            raise InputError(f"{path} has no {name}; expected a data set with {CORPUS}, {QUERIES} and {QRELS}.tsv")
    corpus = _texts(path / CORPUS, "document", warn, titles=True)
    queries = _texts(path / QUERIES, "query", warn)
    if empty := [key for key, text in zip(corpus.ids, corpus.texts, strict=True) if not text.strip()]:
        warn(f"{path / CORPUS}: {count(empty, 'document')} empty; kept, as any ranking may return them")
    judged = _judgements(_qrels(path, split), corpus, queries, warn)
    places = [i for i in range(len(queries)) if judged.get(i)]
    if not places:
        raise InputError(
            f"{path}: no query has a relevant document, so there is nothing to measure; check the ids in its qrels"
        )
    if unjudged := [queries.ids[i] for i in range(len(queries)) if not judged.get(i)]:
        warn(f"{path}: {count(unjudged, 'query')} without a relevant document; left out")
    return Dataset(path.resolve().name, corpus, queries.take(places), tuple(judged[i] for i in places))


def _texts(path: Path, kind: str, warn: Warn, *, titles: bool = False) -> Texts:
    rows: dict[str, Record] = {}
    repeated = []
    for number, row in enumerate(TextFile(str(path), "jsonl", metadata=True, titles=titles), 1):
        if row.id is None:
            raise InputError(f"{path}: {kind} {number} has neither '_id' nor 'id', expected a string; give it one")
        if str(row.id) in rows:
            repeated.append(str(row.id))
        rows.setdefault(str(row.id), row)
    if repeated:
        warn(f"{path}: {count(repeated, 'row')} with an id of an earlier one; the first of each is kept")
    metadata = [row.metadata or {} for row in rows.values()]
    return Texts(
        tuple(rows),
        tuple(row.text for row in rows.values()),
        tuple(_string(fields, "lang") for fields in metadata),
        tuple(_string(fields, "group") for fields in metadata),
    )


def _string(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def _qrels(path: Path, split: str) -> Path:
    folder = path / QRELS
    files = sorted(folder.glob("*.tsv"))
    for file in (folder / f"{split}.tsv", path / f"{QRELS}.tsv"):
        if file.is_file():
            return file
    if len(files) == 1:
        return files[0]
    present = ", ".join(file.name for file in files) or f"neither {QRELS}.tsv nor {QRELS}/{split}.tsv"
    raise InputError(f"{path} has {present}, expected judgements of the split {split!r}")


def _judgements(path: Path, corpus: Texts, queries: Texts, warn: Warn) -> dict[int, dict[int, int]]:
    """Read the grades above 0 of each judged query, by its place."""
    documents = {key: i for i, key in enumerate(corpus.ids)}
    places = {key: i for i, key in enumerate(queries.ids)}
    judged: dict[int, dict[int, int]] = {}
    flaws: dict[str, list[str]] = {flaw: [] for flaw in _FLAWS}
    for query, document, grade in _rows(path):
        if query not in places:
            flaws["query"].append(query)
        elif document not in documents:
            flaws["document"].append(document)
        else:
            grades = judged.setdefault(places[query], {})
            if grades.setdefault(documents[document], grade) != grade:
                flaws["again"].append(query)
            grades[documents[document]] = grade
    for flaw, keys in flaws.items():
        if keys:
            warn(f"{path}: {count(keys, 'judgement')} {_FLAWS[flaw]}")
    return {query: {d: grade for d, grade in grades.items() if grade > 0} for query, grades in judged.items()}


def _rows(path: Path) -> Iterator[tuple[str, str, int]]:
    for number, record in enumerate(TextFile(str(path), "txt"), 1):
        columns = _columns(record.text)
        if not record.text.strip() or (number == 1 and _is_header(columns)):
            continue
        if len(columns) != 3 or not _WHOLE.fullmatch(columns[2]) or abs(float(columns[2])) > _HIGHEST_GRADE:
            raise InputError(
                f"{path}, line {number}: {record.text!r:.80}, expected query, document and grade by tabs, the grade a "
                f"whole number up to {_HIGHEST_GRADE:,}; correct the line"
            )
        query, document, grade = columns
        yield query, document, int(float(grade))


def _columns(line: str) -> list[str]:
    """Split a line into query, document and grade: three columns by tabs, or TREC's four by tabs or spaces."""
    columns = line.split("\t") if "\t" in line else line.split()
    columns = [column.strip() for column in columns]
    if len(columns) == 4:
        del columns[1]  # TREC's second column is constant
    elif "\t" not in line:
        return [line]  # an id may hold spaces, so three columns need tabs
    return columns


def _is_header(columns: list[str]) -> bool:
    return columns[0].lower() in _HEADER and not _NUMBER.fullmatch(columns[-1])


def count(keys: list[str], noun: str) -> str:
    """Say how many there are, and name the first."""
    return f"{counted(len(keys), noun, {'query': 'queries'}.get(noun))}, such as {keys[0]!r:.60},"
