"""Output files: each holds what M3Encoder gave, and a spool puts them together whatever happens to it."""

import json
import os
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from checkpoints import sentences
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from m3rt import Embeddings, InputError, M3Encoder, OutputError
from m3rt.input import Record, chunks
from m3rt.output import FORMATS, Part, format_of
from m3rt.output.jsonl import lines
from m3rt.output.spool import PartNote, Spool

TEXTS = [*sentences()[:20], "", "word " * 200]
IDS = [None, 7, "naïve 中文 🙂", *(f"d{i}" for i in range(3, len(TEXTS)))]
RECORDS = [Record(text, key) for text, key in zip(TEXTS, IDS, strict=True)]
HEADS = [(True, False, False), (False, True, False), (True, True, True)]
Arrays = dict[str, np.ndarray[Any, Any]]


def flat(rows: list[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(rows))


def read_jsonl(path: Path) -> Arrays:
    """The arrays that the file's lines stand for, in the names of .npz."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    found: Arrays = {"ids": np.array([str(row.get("id", "")) for row in rows])}
    if "dense_vecs" in rows[0]:
        found["dense_vecs"] = np.array([row["dense_vecs"] for row in rows], np.float32)
    if "lexical_weights" in rows[0]:
        weights = [row["lexical_weights"] for row in rows]
        found["sparse_indptr"] = np.cumsum([0, *map(len, weights)])
        found["sparse_indices"] = np.array([int(token) for row in weights for token in row], np.int32)
        found["sparse_values"] = np.array([weight for row in weights for weight in row.values()], np.float32)
    if "colbert_vecs" in rows[0]:
        found["colbert_offsets"] = np.cumsum([0, *(len(row["colbert_vecs"]) for row in rows)])
        found["colbert_vecs"] = np.array([vector for row in rows for vector in row["colbert_vecs"]], np.float32)
    return found | {name: np.array([row[name] for row in rows]) for name in ("n_tokens", "truncated")}


def read_npz(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return dict(arrays)


def read_parquet(path: Path) -> Arrays:
    table = parquet.read_table(path)
    assert table["index"].to_pylist() == list(range(len(table)))
    found: Arrays = {"ids": np.array([key or "" for key in table["id"].to_pylist()])}
    if "dense_vecs" in table.column_names:
        assert pa.types.is_fixed_size_list(table.schema.field("dense_vecs").type)
        found["dense_vecs"] = np.array(table["dense_vecs"].to_pylist(), np.float32)
    if "sparse_indices" in table.column_names:
        found["sparse_indptr"] = np.cumsum([0, *map(len, table["sparse_indices"].to_pylist())])
        found["sparse_indices"] = np.array(flat(table["sparse_indices"].to_pylist()), np.int32)
        found["sparse_values"] = np.array(flat(table["sparse_values"].to_pylist()), np.float32)
    if "colbert_vecs" in table.column_names:
        rows = table["colbert_vecs"].to_pylist()
        found["colbert_offsets"] = np.cumsum([0, *map(len, rows)])
        found["colbert_vecs"] = np.array(flat(rows), np.float32)
    return found | {name: table[name].to_numpy() for name in ("n_tokens", "truncated")}


READERS: dict[str, Callable[[Path], Arrays]] = {".jsonl": read_jsonl, ".npz": read_npz, ".parquet": read_parquet}


def expected(out: Embeddings) -> Arrays:
    """What a file should hold, from the encoder's result for all texts at once."""
    arrays: dict[str, Any] = {"ids": np.array(["" if key is None else str(key) for key in IDS])}
    arrays |= {"dense_vecs": out.dense_vecs, "n_tokens": out.n_tokens, "truncated": out.truncated}
    if out.sparse:
        arrays |= {f"sparse_{name}": getattr(out.sparse, name) for name in ("indptr", "indices", "values")}
    if out.multi:
        arrays |= {"colbert_offsets": out.multi.offsets, "colbert_vecs": out.multi.vectors}
    return {name: array for name, array in arrays.items() if array is not None}


def heads(dense: bool, sparse: bool, colbert: bool) -> dict[str, bool]:
    return {"return_dense": dense, "return_sparse": sparse, "return_colbert_vecs": colbert}


def fill(spool: Spool, model: M3Encoder, records: list[Record] = RECORDS, size: int = 5, **options: Any) -> None:
    first = 0
    for number, chunk in enumerate(chunks(records, size, 10**6)):
        if spool.find(number, chunk) is None:
            out = model.encode([record.text for record in chunk], **options)
            spool.add(number, PartNote.of(chunk, out), Part(first, [record.id for record in chunk], out))
        first += len(chunk)


def write(path: Path, model: M3Encoder, *, force: bool = False, **options: Any) -> bytes:
    with Spool(path, {}, force=force) as spool:
        fill(spool, model, **options)
        spool.finish()
    return path.read_bytes()


@pytest.fixture(params=FORMATS)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("asked", HEADS)
def test_a_file_put_together_from_parts_holds_what_the_encoder_gives_for_all(
    suffix: str, asked: tuple[bool, bool, bool], fp32: M3Encoder, tmp_path: Path
) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, fp32, **heads(*asked))
    found, wanted = READERS[suffix](path), expected(fp32.encode(TEXTS, **heads(*asked)))
    assert list(map(str, sorted(found))) == sorted(wanted)
    for name, array in wanted.items():
        assert found[name].dtype.kind == array.dtype.kind
        if array.dtype.kind == "f":
            # Other batch-mates sum in another order; JSON has 7 digits.
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=2e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_npz_has_the_documented_types(fp32: M3Encoder, tmp_path: Path) -> None:
    write(tmp_path / "out.npz", fp32, **heads(True, True, True))
    types = {name: str(array.dtype) for name, array in read_npz(tmp_path / "out.npz").items() if name != "ids"}
    assert types == {
        "dense_vecs": "float32", "sparse_indptr": "int64", "sparse_indices": "int32", "sparse_values": "float32",
        "colbert_offsets": "int64", "colbert_vecs": "float32", "n_tokens": "int64", "truncated": "bool",
    }  # fmt: skip


def test_without_ids_npz_has_none(fp32: M3Encoder, tmp_path: Path) -> None:
    write(tmp_path / "out.npz", fp32, records=[Record(text) for text in TEXTS])
    assert "ids" not in read_npz(tmp_path / "out.npz")


def test_no_texts_give_an_empty_file_of_the_right_width(suffix: str, fp32: M3Encoder, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    data = write(path, fp32, records=[], **heads(True, True, True))
    if suffix == ".jsonl":
        assert data == b""
    elif suffix == ".npz":
        arrays = read_npz(path)
        assert arrays["dense_vecs"].shape == arrays["colbert_vecs"].shape == (0, 32)
        assert arrays["sparse_indptr"].tolist() == arrays["colbert_offsets"].tolist() == [0]
    else:
        table = parquet.read_table(path)
        assert (len(table), table.schema.field("dense_vecs").type.list_size) == (0, 32)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_json_numbers_are_those_of_7_significant_digits(values: list[float]) -> None:
    array = np.array([values], np.float32)
    (line,) = lines(Part(0, [None], Embeddings(array, None, None, np.array([3]), np.array([False]))))
    for value, shown in zip(values, json.loads(line)["dense_vecs"], strict=True):
        assert abs(shown - value) <= 1e-22 + abs(value) * 5.1e-7
        digits = repr(shown).partition("e")[0].replace(".", "").strip("-0")
        assert len(digits) <= 7 or abs(value) >= 1e7


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.txt.*expected one of \.jsonl, \.npz, \.parquet"):
        format_of(tmp_path / "out.txt")


def test_resuming_encodes_only_what_is_missing_and_gives_the_same_bytes(
    suffix: str, fp32: M3Encoder, tmp_path: Path
) -> None:
    path, asked = tmp_path / f"out{suffix}", heads(True, True, True)
    whole = write(tmp_path / f"whole{suffix}", fp32, **asked)
    with Spool(path, {}) as spool:
        fill(spool, fp32, RECORDS[:10], **asked)
    assert not path.exists()
    # What a process killed while it wrote a third part leaves: a half file aside, or a part without its note.
    (spool.directory / ".12345").write_bytes(b"half")
    (spool.directory / f"00000002{suffix}").write_bytes(b"part of another process")
    with Spool(path, {}) as spool:
        assert spool.kept == 10
        assert not (spool.directory / ".12345").exists()
        fill(spool, fp32, **asked)
        spool.finish()
    assert path.read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, f"whole{suffix}"])


def interrupted(path: Path, model: M3Encoder, state: dict[str, Any]) -> Spool:
    with Spool(path, state) as spool:
        fill(spool, model, RECORDS[:5])
    return spool


def test_another_state_is_refused_by_what_differs(fp32: M3Encoder, tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    interrupted(path, fp32, {"max_length": 128, "prompt": None})
    with pytest.raises(OutputError, match=r"out\.npz\.partial .*max_length was 128 and is 64; .*--restart"):
        Spool(path, {"max_length": 64, "prompt": None})
    with Spool(path, {"max_length": 64}, restart=True) as spool:
        assert spool.kept == 0


def test_another_input_is_refused_when_it_is_met(fp32: M3Encoder, tmp_path: Path) -> None:
    interrupted(tmp_path / "out.npz", fp32, {})
    for changed in (
        [Record("another text"), *RECORDS[1:]],
        [Record(TEXTS[0], "another id"), *RECORDS[1:]],
        RECORDS[:4],
    ):
        with Spool(tmp_path / "out.npz", {}) as spool, pytest.raises(OutputError, match=r"input has changed: part 0"):
            fill(spool, fp32, changed)


def test_an_input_that_changes_behind_what_is_done_goes_on(fp32: M3Encoder, tmp_path: Path) -> None:
    interrupted(tmp_path / "out.npz", fp32, {})
    with Spool(tmp_path / "out.npz", {}) as spool:
        fill(spool, fp32, [*RECORDS[:5], Record("mended")])
        spool.finish()
    assert len(read_npz(tmp_path / "out.npz")["n_tokens"]) == 6


def test_a_run_that_finished_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Spool(tmp_path / "out.npz", {}):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.npz.partial").mkdir()
    (tmp_path / "out.npz.partial" / "thesis.tex").touch()
    for restart in (False, True):
        with pytest.raises(OutputError, match="not m3rt's"):
            Spool(tmp_path / "out.npz", {}, restart=restart)
    assert (tmp_path / "out.npz.partial" / "thesis.tex").exists()


@pytest.mark.parametrize("file", ["state.json", "00000000.json"])
def test_a_damaged_directory_is_refused(file: str, fp32: M3Encoder, tmp_path: Path) -> None:
    spool = interrupted(tmp_path / "out.npz", fp32, {})
    (spool.directory / file).write_text('{"oops": ')
    with pytest.raises(OutputError, match="damaged"):
        Spool(tmp_path / "out.npz", {})


def test_a_file_that_exists_is_replaced_only_by_force_and_a_directory_never(fp32: M3Encoder, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("precious")
    with pytest.raises(OutputError, match=r"exists already; .*--force"):
        Spool(path, {})
    with Spool(path, {}, force=True) as spool:
        fill(spool, fp32)
        assert path.read_text() == "precious"
        spool.finish()
    assert len(path.read_text("utf-8").splitlines()) == len(TEXTS)
    (tmp_path / "dir.npz").mkdir()
    with pytest.raises(OutputError, match="no plain file"):
        Spool(tmp_path / "dir.npz", {}, force=True)


def test_a_link_is_written_through_to_what_is_there(fp32: M3Encoder, tmp_path: Path) -> None:
    (tmp_path / "数据").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "数据" / "naïve 🙂.npz")
    with pytest.raises(OutputError, match=r"links to .*, which is not there"):
        write(tmp_path / "link.npz", fp32)
    assert os.listdir(tmp_path / "数据") == []
    (tmp_path / "数据" / "naïve 🙂.npz").touch()
    write(tmp_path / "link.npz", fp32, force=True)
    assert (tmp_path / "link.npz").is_symlink()
    assert len(read_npz(tmp_path / "数据" / "naïve 🙂.npz")["dense_vecs"]) == len(TEXTS)
    assert os.listdir(tmp_path / "数据") == ["naïve 🙂.npz"]


@pytest.mark.parametrize("place", ["/proc/m3rt", "{tmp}/file"])
def test_an_impossible_place_is_one_line(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written: .*; nothing was kept"):
        Spool(Path(place.format(tmp=tmp_path)) / "out.npz", {})


def test_two_processes_never_write_one_output_at_once(tmp_path: Path) -> None:
    with Spool(tmp_path / "out.jsonl", {"m3rt": "x"}), pytest.raises(OutputError, match="another m3rt is writing"):
        Spool(tmp_path / "out.jsonl", {"m3rt": "x"}, restart=True)
    with Spool(tmp_path / "out.jsonl", {"m3rt": "x"}):
        pass


@pytest.mark.parametrize("name", [".keep", "mine.txt"])
def test_a_foreign_file_in_the_directory_is_never_removed(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "out.jsonl.partial"
    directory.mkdir()
    (directory / "state.json").write_text("{}")
    (directory / name).write_text("mine")
    with pytest.raises(OutputError, match=re.escape(name)):
        Spool(tmp_path / "out.jsonl", {}, restart=True)
    assert (directory / name).read_text() == "mine"


def test_a_link_to_something_that_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out.jsonl").symlink_to("pipe")
    with pytest.raises(OutputError, match="no plain file"):
        Spool(tmp_path / "out.jsonl", {}, force=True)
    assert (tmp_path / "pipe").is_fifo()


HOSTILE = [
    ("state.json", "fifo"),
    ("state.json", "hole"),
    ("state.json", "7"),
    ("state.json", "[" * 90_000),
    ("00000000.json", "fifo"),
    ("00000000.json", "hole"),
    ("00000000.json", "[" * 90_000),
    *(("00000000.json", f'{{"texts": {n}, "tokens": 1, "truncated": 0, "records": ""}}')
      for n in ('"5"', "true", "-5", "1e400", "NaN", "null", "9" * 30, "9" * 5000)),
    ("00000000.json", '{"texts": 5, "tokens": 1, "truncated": 0, "records": 7}'),
    ("00000000.json", '{"texts": 5}'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), HOSTILE, ids=lambda value: value[:40])
def test_whatever_an_earlier_run_has_left_is_one_line_and_no_wait_and_restart_drops_it(
    name: str, content: str, fp32: M3Encoder, tmp_path: Path
) -> None:
    file = interrupted(tmp_path / "out.jsonl", fp32, {}).directory / name
    file.unlink()
    if content == "fifo":
        os.mkfifo(file)
    elif content == "hole":
        file.touch()
        os.truncate(file, 1 << 36)
    else:
        file.write_text(content)
    with pytest.raises(OutputError, match=r"(is damaged|cannot be read)[^\n]*--restart"):
        Spool(tmp_path / "out.jsonl", {})
    with Spool(tmp_path / "out.jsonl", {}, restart=True) as spool:
        assert spool.kept == 0
