"""Reading texts: every format, the same texts; whatever is wrong, where it is."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from m3rt.errors import InputError
from m3rt.texts import Record, TextFile, arguments, chunks

TEXTS = [
    "plain",
    "",
    "two words",
    'quo"te, comma\tand tab',
    "naïve 中文 данные 🙂",
    "line separator \u2028 inside",
    " x ",
]
ROWS = [{"id": f"d{i}", "text": text, "title": "a title"} for i, text in enumerate(TEXTS)]
RECORDS = [Record(row["text"], row["id"]) for row in ROWS]


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-8")


def write_separated(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(ROWS)


def write_parquet(path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist(ROWS), path)


WRITERS = {
    "texts.jsonl": write_jsonl,
    "texts.NDJSON": write_jsonl,
    "texts.csv": write_separated,
    "texts.tsv": write_separated,
    "texts.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_gives_the_texts_and_ids_written_into_it(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    texts = TextFile(str(tmp_path / name))
    assert list(texts) == RECORDS
    assert list(texts) == RECORDS  # again: it reads from the start


@pytest.mark.parametrize("name", WRITERS)
def test_another_field_may_hold_the_text(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    assert {record.text for record in TextFile(str(tmp_path / name), field="title")} == {"a title"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_a_plain_line_is_a_text_and_an_empty_line_the_empty_text(
    start: str, end: str, last: bool, tmp_path: Path
) -> None:
    path = tmp_path / "texts"
    path.write_bytes((start + end.join(TEXTS) + end * last).encode())
    assert [record.text for record in TextFile(str(path))] == TEXTS


def test_the_format_can_be_said_where_the_name_does_not(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "texts.dump")
    assert list(TextFile(str(tmp_path / "texts.dump"), "jsonl")) == RECORDS


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_unicode_survives_csv(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    assert [record.text for record in TextFile(str(path))] == texts


def test_a_csv_field_may_be_longer_than_the_csv_module_likes(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text\n" + "a" * 200_000 + "\n")
    assert [len(record.text) for record in TextFile(str(tmp_path / "x.csv"))] == [200_000]


BROKEN = {
    "not-utf8.txt": (b"fine\n\xff\xfe\n", "not-utf8.txt, line 2: .*expected UTF-8"),
    "not-json.jsonl": (b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
    "too-deep.jsonl": (b"[" * 100_000, "line 1: not JSON"),
    "a-list.jsonl": (b'["a"]\n', "line 1: a JSON list, expected an object"),
    "no-field.jsonl": (b'\n{"body": "a", "id": 1}\n', "line 2: no 'text' among body, id; choose with --field"),
    "no-string.jsonl": (b'{"text": 5}\n', "line 1: 'text' is a int, expected a string"),
    "float-id.jsonl": (b'{"text": "a", "id": 0.5}\n', "line 1: 'id' is a float"),
    "surrogate.jsonl": (b'{"text": "a\\ud800"}\n', r"line 1: lone surrogate U\+D800 at character 1"),
    "surrogate-id.jsonl": (b'{"text": "a", "id": "\\udfff"}\n', "line 1: lone surrogate"),
    "twice.csv": (b"id,text,text\n1,a,b\n", "line 1: column 'text' is there twice; rename one"),
    "short-row.csv": (b"id,text\n1,a\n2\n", "line 3: 1 columns, expected the header's 2"),
    "open-quote.csv": (b'id,text\n1,"a\n2,b\n', "line 3: unexpected end of data"),
    "no-column.tsv": (b"id\tbody\n1\ta\n", "line 2: no 'text' among id, body"),
    "not.parquet": (b"PAR1 no PAR1", "not.parquet is no parquet file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_with_its_place(name: str, tmp_path: Path) -> None:
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        list(TextFile(str(tmp_path / name)))
    assert "\n" not in str(error.value)


def test_a_parquet_null_is_no_text(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["a", None]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="row 2: 'text' is a NoneType"):
        list(TextFile(str(tmp_path / "x.parquet")))


def test_arguments_of_broken_unicode_are_refused_by_number() -> None:
    with pytest.raises(InputError, match="text 1: lone surrogate"):
        list(arguments(["a", "b\udcff"]))


@given(
    lengths=st.lists(st.integers(0, 50)),
    texts=st.integers(1, 9),
    characters=st.integers(1, 100),
)
def test_chunks_keep_all_records_in_order_and_stay_in_bounds(lengths: list[int], texts: int, characters: int) -> None:
    records = [Record("x" * n, i) for i, n in enumerate(lengths)]
    cut = list(chunks(iter(records), texts, characters))
    assert [record for chunk in cut for record in chunk] == records
    assert all(len(chunk) <= texts for chunk in cut)
    assert all(sum(len(record.text) for record in chunk[:-1]) < characters for chunk in cut)
    assert all(cut) or cut == [[]]


def test_a_chunk_comes_as_soon_as_it_is_full() -> None:
    def talk() -> object:
        yield Record("only one so far")
        raise AssertionError("waited for the next record")

    assert next(chunks(talk(), 1, 1000)) == [Record("only one so far")]  # type: ignore[arg-type]
