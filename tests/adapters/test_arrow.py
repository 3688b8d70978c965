"""Arrow in, Arrow out: the encoder's results, in the columns that m3rt encode writes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
from pyarrow import parquet  # noqa: E402

from m3rt import BundleError, Embeddings, InputError, M3Encoder  # noqa: E402
from m3rt.adapters.arrow import TableEncoder, documents_table, embeddings_table, encode_table  # noqa: E402
from m3rt.adapters.parts.parquet_files import FilePair, encode_file, pairs  # noqa: E402
from m3rt.output import Part, format_of  # noqa: E402

TEXTS = ["Tokyo Tower is 333 metres high.", "Apfelkuchen", "", "東京タワー"]
ALL = {"return_sparse": True, "return_colbert_vecs": True}


@pytest.fixture(scope="module")
def tiny() -> M3Encoder:
    return M3Encoder(threads=1)


@pytest.fixture(scope="module")
def out(tiny: M3Encoder) -> Embeddings:
    return tiny.encode(TEXTS, **ALL)


def check(table: Any, out: Embeddings) -> None:
    assert out.sparse is not None
    np.testing.assert_allclose(np.array(table["dense_vecs"].to_pylist()), out.dense_vecs, atol=1e-6)
    pointers = zip(table["sparse_indices"].to_pylist(), table["sparse_values"].to_pylist(), strict=True)
    assert [dict(zip(ids, weights, strict=True)) for ids, weights in pointers] == out.lexical_weights
    for found, wanted in zip(table["colbert_vecs"].to_pylist(), out.colbert_vecs or (), strict=True):
        np.testing.assert_allclose(np.array(found), wanted, atol=1e-6)


def test_a_table_keeps_its_columns_and_gets_the_views(tiny: M3Encoder, out: Embeddings) -> None:
    table = pa.table({"id": ["a", "b", "c", "d"], "body": TEXTS})
    found = encode_table(tiny, table, text="body", **ALL)
    assert found.select(["id", "body"]) == table
    check(found, out)
    assert encode_table(tiny, table.to_batches()[0], text="body", **ALL) == found


def test_a_table_of_no_rows_has_the_same_columns(tiny: M3Encoder) -> None:
    table = pa.table({"text": pa.array(TEXTS)})
    assert encode_table(tiny, table.slice(0, 0), **ALL).schema == encode_table(tiny, table, **ALL).schema


def test_the_columns_are_those_of_the_parquet_file_that_encode_writes(out: Embeddings, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    format_of(path).write(Part(0, ["a", "b", "c", "d"], out), path)
    written = parquet.read_table(path)
    assert embeddings_table(out) == written.drop_columns(["index", "id"])
    documents = documents_table(out, ["a", "b", "c", "d"], TEXTS, [{"n": 1}, None, {}, {"x": "ü"}])
    assert documents.drop_columns(["text", "metadata"]) == written.drop_columns(["index"])
    assert documents["metadata"].to_pylist() == ['{"n": 1}', "{}", "{}", '{"x": "ü"}']


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"body": TEXTS}, "no column 'text', only body"),
        ({"text": TEXTS, "n_tokens": [1, 2, 3, 4]}, "has a column 'n_tokens' already"),
        ({"text": ["a", None]}, "text 1 is a NoneType, expected str"),
        ({"text": [1, 2]}, "text 0 is an int, expected str"),
    ],
)
def test_a_table_that_cannot_be_encoded_is_refused(tiny: M3Encoder, columns: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        encode_table(tiny, pa.table(columns))


def test_a_table_encoder_pickles_before_and_after_its_use(out: Embeddings) -> None:
    encode = TableEncoder(threads=1, **ALL)
    table = pa.table({"text": TEXTS})
    for encoder in (pickle.loads(pickle.dumps(encode)), encode, pickle.loads(pickle.dumps(encode))):  # noqa: S301
        check(encoder(table), out)


def test_batches_have_lists_of_any_length_and_the_same_values(tiny: M3Encoder, out: Embeddings) -> None:
    table = pa.table({"text": TEXTS})
    found = pa.Table.from_batches(TableEncoder(threads=1, **ALL).batches(table.to_batches()))
    assert found.schema.field("dense_vecs").type == pa.list_(pa.float32())
    assert found.schema.field("colbert_vecs").type == pa.list_(pa.list_(pa.float32()))
    check(found, out)


def test_a_bundle_that_is_not_there_is_refused_before_any_process_starts(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        TableEncoder(tmp_path / "nothing")


def test_a_file_becomes_a_file_with_every_row_in_order(tmp_path: Path) -> None:
    texts = [f"text number {i}" for i in range(2500)]
    parquet.write_table(pa.table({"id": range(2500), "text": texts}), tmp_path / "a.parquet")
    pair = FilePair(tmp_path / "a.parquet", tmp_path / "out.parquet")
    assert encode_file(TableEncoder(threads=1), pair) == 2500
    found = parquet.read_table(pair.target)
    assert found["id"].to_pylist() == list(range(2500))
    np.testing.assert_allclose(np.linalg.norm(np.array(found["dense_vecs"].to_pylist()), axis=1), 1, atol=1e-5)


def test_a_file_of_no_rows_becomes_one(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    pair = FilePair(tmp_path / "a.parquet", tmp_path / "out.parquet")
    assert encode_file(TableEncoder(threads=1), pair) == 0
    assert "dense_vecs" in parquet.read_table(pair.target).column_names


def test_an_error_leaves_no_file_and_names_the_source(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["a", None]}), tmp_path / "a.parquet")
    pair = FilePair(tmp_path / "a.parquet", tmp_path / "out" / "a.parquet")
    pair.target.parent.mkdir()
    with pytest.raises(InputError, match=r"a\.parquet: text 1 is"):
        encode_file(TableEncoder(threads=1), pair)
    assert list(pair.target.parent.iterdir()) == []


def test_what_exists_is_skipped_and_what_cannot_be_paired_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.parquet").touch()
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.parquet").touch()
    todo, skipped = pairs([tmp_path / "a.parquet", tmp_path / "b.parquet"], out)
    assert ([pair.target.name for pair in todo], skipped) == (["b.parquet"], 1)
    with pytest.raises(InputError, match=r"no \.parquet file"):
        pairs([tmp_path / "c.parquet"], out)
    with pytest.raises(InputError, match="two files are named"):
        pairs([tmp_path / "a.parquet", out / "a.parquet"], out)
