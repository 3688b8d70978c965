"""The Parquet file that m3rt encode writes, read by databases and tables with no code of m3rt's."""

from pathlib import Path

import numpy as np
import pytest

from m3rt import Embeddings, M3Encoder
from m3rt.output import Part, format_of

TEXTS = ["Tokyo Tower is 333 metres high.", "Apfelkuchen schmeckt gut.", "The Danube is long."]
NAMES = ["tower", "pie", "river"]


@pytest.fixture(scope="module")
def tiny() -> M3Encoder:
    return M3Encoder(threads=1)


@pytest.fixture(scope="module")
def out(tiny: M3Encoder) -> Embeddings:
    return tiny.encode_corpus(TEXTS, return_sparse=True, return_colbert_vecs=True)


@pytest.fixture(scope="module")
def query(tiny: M3Encoder) -> Embeddings:
    return tiny.encode_queries("How tall is Tokyo Tower?", return_sparse=True, return_colbert_vecs=True)


@pytest.fixture(scope="module")
def path(out: Embeddings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    path = tmp_path_factory.mktemp("files") / "x.parquet"
    format_of(path).write(Part(0, NAMES, out), path)
    return path


@pytest.fixture(scope="module")
def order(out: Embeddings, query: Embeddings) -> list[str]:
    return [NAMES[i] for i in np.argsort(-(query["dense_vecs"] @ out["dense_vecs"].T)[0])]


def test_lancedb_searches_it(path: Path, query: Embeddings, order: list[str], tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb", reason="needs lancedb")
    from pyarrow import parquet

    table = lancedb.connect(str(tmp_path)).create_table("docs", parquet.read_table(path))
    rows = table.search(query["dense_vecs"][0], vector_column_name="dense_vecs").distance_type("cosine").limit(3)
    assert [row["id"] for row in rows.to_list()] == order
    tokens = table.search(query["colbert_vecs"][0], vector_column_name="colbert_vecs").distance_type("cosine").limit(1)
    assert tokens.to_list()[0]["id"] == "tower"


def test_duckdb_ranks_it(path: Path, query: Embeddings, order: list[str]) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    statement = f"select id from '{path}' order by list_dot_product(dense_vecs, ?::float[]) desc"
    rows = duckdb.sql(statement, params=[query["dense_vecs"][0].tolist()]).fetchall()
    assert [row[0] for row in rows] == order


def test_polars_reads_every_view(path: Path, out: Embeddings) -> None:
    polars = pytest.importorskip("polars", reason="needs polars")
    frame = polars.read_parquet(path)
    np.testing.assert_array_equal(frame["dense_vecs"].to_numpy(), out.dense_vecs)
    pairs = zip(frame["sparse_indices"].to_list(), frame["sparse_values"].to_list(), strict=True)
    assert [dict(zip(ids, weights, strict=True)) for ids, weights in pairs] == out.lexical_weights
    for found, wanted in zip(frame["colbert_vecs"].to_list(), out.colbert_vecs or (), strict=True):
        np.testing.assert_array_equal(np.array(found, np.float32), wanted)
