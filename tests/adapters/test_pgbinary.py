"""Binary parameters for pgvector are what PostgreSQL reads from text."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from m3rt.adapters.parts import pgbinary

RANDOM = np.random.default_rng(5)
ROWS = np.concatenate([RANDOM.normal(size=(6, 7)), np.zeros((1, 7)), np.full((1, 7), 1e-38)]).astype(np.float32)


@pytest.fixture
def connection(postgres: Any) -> Iterator[Any]:
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg")
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute("create extension if not exists vector")
        yield connection


def text(row: Any) -> str:
    return "[" + ",".join(f"{value:.9g}" for value in row.tolist()) + "]"


def same(connection: Any, binary: Any, literal: str, kind: str) -> bool:
    """Whether the database finds them equal, and prints them alike."""
    statement = f"select %s::{kind} = %s::{kind}, (%s::{kind})::text = (%s::{kind})::text"
    return bool(connection.execute(statement, [binary, literal] * 2).fetchone() == (True, True))


def test_vectors_are_those_of_their_text(connection: Any) -> None:
    pgbinary.register(connection)
    for row, binary in zip(ROWS, pgbinary.vectors(ROWS), strict=True):
        assert same(connection, binary, text(row), "vector(7)")


def test_sparse_vectors_are_those_of_their_text(connection: Any) -> None:
    pgbinary.register(connection)
    for tokens in ([], [0], [249_999], [3, 4, 70_000]):
        weights = np.linspace(0.1, 0.4, len(tokens), dtype=np.float32)
        entries = ",".join(f"{token + 1}:{weight:.9g}" for token, weight in zip(tokens, weights.tolist(), strict=True))
        binary = pgbinary.sparse_vector(np.array(tokens, np.int32), weights, 250_000)
        assert same(connection, binary, f"{{{entries}}}/250000", "sparsevec(250000)")


def test_arrays_are_those_of_their_text(connection: Any) -> None:
    element = pgbinary.register(connection)
    for n in (0, 1, len(ROWS)):
        literal = "{" + ",".join(f'"{text(row)}"' for row in ROWS[:n]) + "}"
        assert same(connection, pgbinary.vector_array(ROWS[:n], element), literal, "vector[]")


def test_another_width_is_refused_by_the_database(connection: Any) -> None:
    pgbinary.register(connection)
    with pytest.raises(Exception, match="expected 8 dimensions, not 7"):
        connection.execute("select %s::vector(8)", [pgbinary.vectors(ROWS)[0]])
