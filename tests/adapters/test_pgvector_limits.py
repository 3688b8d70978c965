"""What pgvector's HNSW index cannot give is refused before the database is asked; no database is needed."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from corpus import DIM, VOCABULARY, documents, embeddings

from m3rt import InputError
from m3rt.adapters import Layout
from m3rt.adapters.parts.collection import Mode
from m3rt.adapters.pgvector import PostgresCollection

QUERY = embeddings([next(doc for doc in documents(9, seed=3) if doc.terms)])


class Statements:
    """A connection that keeps what it is asked and finds nothing."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def transaction(self) -> AbstractContextManager[None]:
        return nullcontext()

    def execute(self, statement: str, *_: Any) -> "Statements":
        self.kept.append(statement)
        return self

    def fetchall(self) -> list[Any]:
        return []


@pytest.fixture
def collection() -> PostgresCollection:
    found = PostgresCollection.__new__(PostgresCollection)  # making one needs psycopg and a database
    found.connection, found.name, found.layout = Statements(), "t", Layout(DIM, VOCABULARY, DIM)
    return found


@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid"])
def test_more_hits_than_the_index_gives_are_refused(collection: PostgresCollection, mode: Mode) -> None:
    with pytest.raises(InputError, match=r"^k is 1001, expected 1\.\.1000$"):
        collection.search(QUERY, 1001, mode=mode)
    assert not collection.connection.kept


@pytest.mark.parametrize(("k", "mode", "ef"), [(10, "dense", 400), (1000, "dense", 1000), (5000, "colbert", 1000)])
def test_the_setting_of_the_index_stays_within_what_it_takes(
    collection: PostgresCollection, k: int, mode: Mode, ef: int
) -> None:
    collection.search(QUERY, k, mode=mode)
    assert collection.connection.kept[0] == f"set local hnsw.ef_search = {ef}"
