"""A TableEncoder in other engines' processes: every row once, with the encoder's vectors."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
from m3rt import M3Encoder  # noqa: E402
from m3rt.adapters.arrow import TableEncoder  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the engines' own, which change with each version

IDS = list(range(60))
TEXTS = [f"text number {i}" for i in IDS]


@pytest.fixture(scope="module")
def encode() -> TableEncoder:
    return TableEncoder(threads=1, return_sparse=True)


def check(rows: list[dict[str, Any]]) -> None:
    wanted = M3Encoder(threads=1).encode(TEXTS, return_sparse=True)
    rows = sorted(rows, key=lambda row: row["id"])
    assert [row["id"] for row in rows] == IDS
    np.testing.assert_allclose(np.array([row["dense_vecs"] for row in rows]), wanted.dense_vecs, atol=1e-5)
    found = [dict(zip(row["sparse_indices"], row["sparse_values"], strict=True)) for row in rows]
    assert [weights.keys() for weights in found] == [weights.keys() for weights in wanted.lexical_weights or ()]


def test_spark_maps_it_in_arrow(encode: TableEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="needs pyspark")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", False)
    try:
        session = builder.config("spark.sql.warehouse.dir", str(tmp_path)).getOrCreate()
    except Exception as error:
        pytest.skip(f"Spark does not start here: {error!r:.100}")
    frame = session.createDataFrame(list(zip(IDS, TEXTS, strict=True)), "id long, text string").repartition(3)
    schema = (
        "id long, text string, dense_vecs array<float>, sparse_indices array<int>, sparse_values array<float>, "
        "n_tokens long, truncated boolean"
    )
    rows = frame.mapInArrow(encode.batches, schema).collect()
    session.stop()
    check([row.asDict() for row in rows])


def test_dask_maps_partitions(encode: TableEncoder) -> None:
    dataframe = pytest.importorskip("dask.dataframe", reason="needs dask[dataframe]")
    import pandas

    def part(frame: pandas.DataFrame) -> pandas.DataFrame:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        return encode(table).to_pandas()

    frame = dataframe.from_pandas(pandas.DataFrame({"id": IDS, "text": TEXTS}), npartitions=3)
    meta = part(pandas.DataFrame({"id": [0], "text": [""]})).iloc[:0]
    check(frame.map_partitions(part, meta=meta).compute().to_dict("records"))


def test_daft_maps_batches(encode: TableEncoder) -> None:
    daft = pytest.importorskip("daft", reason="needs daft")

    dim = encode.encoder.manifest.dim

    @daft.func.batch(return_dtype=daft.DataType.struct({
        "dense_vecs": daft.DataType.fixed_size_list(daft.DataType.float32(), dim),
        "sparse_indices": daft.DataType.list(daft.DataType.int32()),
        "sparse_values": daft.DataType.list(daft.DataType.float32()),
    }))  # fmt: skip
    def views(texts: daft.Series) -> Any:
        table = encode(pa.table({"text": texts.to_arrow()})).drop_columns(["text", "n_tokens", "truncated"])
        return table.to_struct_array().combine_chunks()

    frame = daft.from_pydict({"id": IDS, "text": TEXTS}).with_column("views", views(daft.col("text")))
    check([{"id": row["id"], **row["views"]} for row in frame.to_pylist()])
