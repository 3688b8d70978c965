"""Reading texts: every format, the same texts; whatever is wrong, where it is."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from m3rt.errors import InputError
from m3rt.input import Record, TextFile, arguments, chunks

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


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
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
    "no-string.jsonl": (b'{"text": 5}\n', "line 1: 'text' is an int, expected a string"),
    "float-id.jsonl": (b'{"text": "a", "id": 0.5}\n', "line 1: 'id' is a float"),
    "surrogate.jsonl": (b'{"text": "a\\ud800"}\n', r"line 1: lone surrogate U\+D800 at character 1"),
    "surrogate-id.jsonl": (b'{"text": "a", "id": "\\udfff"}\n', "line 1: lone surrogate"),
    "twice.csv": (b"id,text,text\n1,a,b\n", "line 1: column 'text' is there twice; rename one"),
    "short-row.csv": (b"id,text\n1,a\n2\n", "line 3: 1 column, expected the header's 2"),
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


@pytest.mark.parametrize("name", ["a.txt", "a.text", "a.md", "a", "63", "A.TXT", "a.txt.gz", "a.gz"])
def test_plain_text_is_what_its_name_says(name: str, tmp_path: Path) -> None:
    data = b"one\ntwo\n"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert [record.text for record in TextFile(str(tmp_path / name))] == ["one", "two"]


@pytest.mark.parametrize(
    "suffix", [".html", ".yaml", ".xml", ".json5", ".docx", ".pdf", ".tar.gz", ".jsonl.bak", ".tab"]
)
def test_a_suffix_that_says_no_format_is_refused_unless_the_format_is_said(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"expected .*; use --input-format"):
        list(TextFile(str(path)))
    assert [record.text for record in TextFile(str(path), "txt")] == ["one", "two"]


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.jsonlines", "x.json"])
@pytest.mark.parametrize("packed", [False, True])
def test_json_lines_have_four_suffixes(name: str, packed: bool, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "plain")
    data = (tmp_path / "plain").read_bytes()
    path = tmp_path / f"{name}{'.gz' * packed}"
    path.write_bytes(gzip.compress(data[:40]) + gzip.compress(data[40:]) if packed else data)  # two members, as of cat
    assert list(TextFile(str(path))) == RECORDS


@pytest.mark.parametrize("indent", [None, 0, 3])
@pytest.mark.parametrize("shape", ["list", "one after another", "one"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_json_file_is_a_list_or_objects(indent: int | None, shape: str, end: str, tmp_path: Path) -> None:
    rows = ROWS[:1] if shape == "one" else ROWS
    text = json.dumps(rows, indent=indent) if shape == "list" else "\n".join(json.dumps(r, indent=indent) for r in rows)
    (tmp_path / "x.json").write_bytes(text.replace("\n", end).encode())
    assert list(TextFile(str(tmp_path / "x.json"))) == RECORDS[: len(rows)]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(rows=st.lists(st.fixed_dictionaries({"text": TEXT, "x": st.recursive(st.integers() | TEXT, st.lists)})))
def test_any_list_of_objects_is_read_as_json_reads_it(
    rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    for indent in (None, 1):
        path.write_text(json.dumps(rows, indent=indent), "utf-8")
        found = list(TextFile(str(path), metadata=True))
        read = json.loads(path.read_text("utf-8"))
        assert [(r.text, r.metadata) for r in found] == [(row["text"], {"x": row["x"]}) for row in read]


def zipped(name: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(name, "text")
    return data.getvalue()


FEATHER = io.BytesIO()
pa.feather.write_feather(pa.table({"text": ["a"]}), FEATHER)
PARQUET = io.BytesIO()
parquet.write_table(pa.table({"text": ["a"]}), PARQUET)
CONTAINERS = {
    "zip": (zipped("texts.txt"), "a zip archive.*unzip"),
    "docx": (zipped("[Content_Types].xml"), "an Office file.*soffice"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF.*pdftotext"),
    "zst": (b"\x28\xb5\x2f\xfd\x04\x00", "zstd.*zstd -d"),
    "xz": (lzma.compress(b"text\n"), "xz-compressed.*xz -d"),
    "bz2": (bz2.compress(b"text\n"), "bzip2.*bzip2 -d"),
    "utf16": ("text\n".encode("utf-16"), "UTF-16.*iconv -f UTF-16 "),
    "utf16be": (b"\xfe\xff" + "text\n".encode("utf-16-be"), "UTF-16.*iconv -f UTF-16 "),
    "utf32": ("text\n".encode("utf-32"), "UTF-32.*iconv -f UTF-32 "),
    "utf16-no-mark": ("text\n".encode("utf-16-le"), "line 1: a NUL byte"),
    "parquet": (PARQUET.getvalue(), "Parquet.*--input-format parquet"),
    "arrow": (FEATHER.getvalue(), "Arrow"),
    "sqlite": (b"SQLite format 3\0\x10\0", "SQLite.*sqlite3 "),
    "png": (b"\x89PNG\r\n\x1a\n", "an image"),
    "tar": (b"name" + b"\0" * 253 + b"ustar\x00", "a tar archive.*tar -xf"),
}


SILENT = {("utf16-no-mark", "x.parquet"), ("utf16-no-mark", "x.own")}


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("named", ["x.txt", "x.jsonl", "x.json", "x.csv", "x.tsv", "x.parquet", "x.txt.gz", "x.own"])
def test_what_is_no_text_is_called_by_its_name_with_the_way_on(kind: str, named: str, tmp_path: Path) -> None:
    data, message = CONTAINERS[kind]
    if (kind, named) in {("parquet", "x.parquet"), ("parquet", "x.own"), *SILENT}:
        pytest.skip("it is what its name says, or nothing tells it")
    path = tmp_path / named.replace("own", kind)
    path.write_bytes(gzip.compress(data) if named.endswith("gz") else data)
    with pytest.raises(InputError, match=message) as error:
        list(TextFile(str(path)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "word", ["PK", "%PDF", "PAR1 binds", "BZh9 is", "RIFF", "Rar!", "ORC", "Obj", "FEA1", "ARROW1"]
)
def test_a_text_may_begin_as_a_container_does(word: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(f"{word} a text\n")
    assert [record.text for record in TextFile(str(tmp_path / "x.txt"))] == [f"{word} a text"]


def test_gzip_is_known_by_its_content_on_stdin_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert [record.text for record in TextFile(str(tmp_path / "x.txt"))] == ["one", "two"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b'[{"text": "one"}]'))))
    assert [record.text for record in TextFile("-", "json")] == ["one"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:30] + b"\xff" + data[31:], lambda d: d[:12]]
)
def test_damaged_gzip_is_one_line(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(damage(gzip.compress(bytes(range(32, 127)) * 9 + b"\n")))
    with pytest.raises(InputError, match=r"x.gz (is cut off or damaged gzip|cannot be read)"):
        list(TextFile(str(tmp_path / "x.gz")))


def test_a_parquet_file_may_come_compressed_or_by_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "x.parquet.gz").write_bytes(gzip.compress(PARQUET.getvalue()))
    assert list(TextFile(str(tmp_path / "x.parquet.gz"))) == [Record("a")]
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        pool.submit((tmp_path / "pipe").write_bytes, PARQUET.getvalue())
        assert list(TextFile(str(tmp_path / "pipe"), "parquet")) == [Record("a")]


@pytest.mark.parametrize("format", ["txt", "jsonl", "json", "csv"])
def test_what_has_no_line_end_cannot_fill_the_memory(
    format: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("lines", "json_values", "separated"):
        monkeypatch.setattr(f"m3rt.input.{name}.LINE_BYTES", 1000)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b'{"text": "' + b"a" * 10_000_000))
    with pytest.raises(InputError, match="more than 1,000 bytes without a line end"):
        list(TextFile(str(tmp_path / "bomb.gz"), format))


def test_only_a_line_feed_ends_a_line_unless_a_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    odd = ["form\x0cfeed", "line\u2028separator", "next\x85line", "file\x1cseparator", "back\rhere", ""]
    path.write_bytes("\n".join(odd).encode() + b"\n")
    assert [record.text for record in TextFile(str(path))] == odd
    path.write_bytes("one\rtwo\r\rthree \u2028 four\r".encode())
    assert [record.text for record in TextFile(str(path))] == ["one", "two", "", "three \u2028 four"]
    (tmp_path / "x.csv").write_bytes(b'id,text\r1,"a, b"\r2,c\r')
    assert list(TextFile(str(tmp_path / "x.csv"))) == [Record("a, b", "1"), Record("c", "2")]


TSV = {
    "bare quotes": ('1\t"hello\n2\tworld\n3\t5" disk\n', ['"hello', "world", '5" disk']),
    "a quotation": ('1\t"Yes," she said\n2\t"No"\n', ['"Yes," she said', "No"]),
    "a quote at the end": ('1\ta\n2\t"b\n', ["a", '"b']),
    "two that open": ('1\t"a\n2\t"b\n3\tc\n', ['"a', '"b', "c"]),
    "pandas and Excel": ('1\t"a ""b"" c"\n2\t"tab\there"\n', ['a "b" c', "tab\there"]),
    "quotes amid": ('1\ta "b" c\n\n2\td""e\n', ['a "b" c', 'd""e']),
    "windows": ('1\t"a\r\n2\tb\r\n', ['"a', "b"]),
}


@pytest.mark.parametrize("case", TSV)
def test_no_document_of_a_tsv_file_vanishes_by_a_quote(case: str, tmp_path: Path) -> None:
    rows, expected = TSV[case]
    (tmp_path / "x.tsv").write_bytes(f"id\ttext\n{rows}".encode())
    assert [record.text for record in TextFile(str(tmp_path / "x.tsv"))] == expected


@given(texts=st.lists(st.text('ab" ', min_size=1), min_size=1, max_size=6))
def test_a_tsv_file_gives_every_row_or_is_refused(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    path.write_text("id\ttext\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(texts)))
    assert [record.text for record in TextFile(str(path), "tsv-raw")] == texts
    with suppress(InputError):  # an ambiguous one
        assert [record.id for record in TextFile(str(path))] == [str(i) for i in range(len(texts))]


REFUSED = {
    "two readings.tsv": (b'id\ttext\n1\t"a\n2\tb"\n3\tc\n', "line 2: a quote opens a field that line 3 closes"),
    "far apart.tsv": (
        b'id\ttext\n1\t"a\n' + b"2\tb\n" * 900 + b'3\tc"\n',
        "line 2: a quote opens a field that line 903 closes",
    ),
    "one column.tsv": (b'text\n"first\nsecond"\n', "line 2: a quote opens a field that line 3 closes"),
    "too many.tsv": (b"id\ttext\n1\ta\tb\n", "line 2: 3 columns, expected the header's 2"),
    "semicolons.csv": (b"id;text\n1;a\n", "line 1: the header is one column, 'id;text': ';' stands between"),
    "tabs.csv": (b"id\ttext\n1\ta\n", "--input-format tsv"),
    "commas.tsv": (b"id,text\n1,a\n", "--input-format csv"),
    "twice.json": (b'[{"text": "a", "text": "b"}]', "line 1: not JSON .the key 'text' is there twice"),
    "twice.jsonl": (b'{"text": "a"}\n{"text": "a", "id": 1, "id": 2}', "line 2: not JSON .the key 'id' is there twice"),
    "nan.jsonl": (b'{"text": "a", "x": NaN}\n', "line 1: not JSON .NaN is no JSON"),
    "strings.json": (b'["a", "b"]', "line 1: a JSON str, expected an object"),
    "open.json": (b'[{"text": "a"},\n{"text": "b"}', "line 2: not JSON .no ',' or '\\]' after a list"),
    "half.json": (b'[{"text": "a"},\n\n{"text": ', "line 3: not JSON"),
    "more.json": (b'[{"text": "a"}]\n{"text": "b"}', "line 2: more after the list's end"),
    "no comma.json": (b'[{"text": "a"} {"text": "b"}]', "not JSON .no ','"),
    "another.json": (b'{"data": [{"text": "a"}]}', "line 1: no 'text' among data"),
    "deep.jsonl": (b'{"text": "a", "x": ' + b"[" * 500 + b"]" * 500 + b"}", "more than 100 deep"),
    "nul.txt": (b"a\n\0b\n", "line 2: a NUL byte"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_one_reading_is_refused_with_the_way_on(name: str, tmp_path: Path) -> None:
    data, message = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        list(TextFile(str(tmp_path / name)))
    assert "\n" not in str(error.value)


STRINGS = [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", STRINGS, ids=str)
def test_parquet_strings_of_every_type_are_texts(kind: pa.DataType, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": pa.array(["a", "b"], kind)}), tmp_path / "x.parquet")
    assert [record.text for record in TextFile(str(tmp_path / "x.parquet"))] == ["a", "b"]


@pytest.mark.parametrize("values", [[b"a"], [["a"]], [{"text": "a"}], [1]], ids=str)
def test_parquet_values_that_are_no_strings_are_refused(values: list[object], tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": values}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"row 1: 'text' is an? (bytes|list|dict|int), expected a string"):
        list(TextFile(str(tmp_path / "x.parquet")))


@pytest.mark.parametrize("twice", ["text", "id"])
@pytest.mark.parametrize("metadata", [False, True])
def test_two_parquet_columns_of_one_name_are_refused(twice: str, metadata: bool, tmp_path: Path) -> None:
    columns = [pa.array(["a"])] * 4
    parquet.write_table(pa.table(columns, names=["id", "text", "lang", twice]), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=f"column '{twice}' is there twice"):
        list(TextFile(str(tmp_path / "x.parquet"), metadata=metadata))


BEIR = [{"_id": "b", "id": "other", "title": "A title", "text": "a text"}, {"id": "i", "title": None, "text": "b"}]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_beir_s_id_comes_before_id_and_its_title_before_the_text(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(BEIR), path)
    elif suffix == ".csv":
        path.write_text("_id,id,title,text\nb,other,A title,a text\n")
    else:
        path.write_text("\n".join(map(json.dumps, BEIR)))
    found = list(TextFile(str(path), metadata=True, titles=True))
    assert found[0] == Record("A title a text", "b", {"id": "other", "title": "A title"})
    assert suffix == ".csv" or (found[1].text, found[1].id) == ("b", "i")
    one = next(iter(TextFile(str(path), metadata=True, titles=True, field="text", id_field="id")))
    assert one == Record("a text", "other", {"_id": "b", "title": "A title"})


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.txt", "x.parquet"])
def test_an_id_field_that_is_not_there_numbers_no_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "x.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"id": ["a"], "text": ["b"]}), path)
    else:
        path.write_text({"x.jsonl": '{"id": "a", "text": "b"}\n', "x.csv": "id,text\na,b\n", "x.txt": "b\n"}[name])
    with pytest.raises(InputError, match=r"no 'key' among .*text; choose with --id-field"):
        list(TextFile(str(path), id_field="key"))
    assert [record.text for record in TextFile(str(path))] == ["b"]


def test_ids_alone_are_lines_or_fields(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a\n\n b \n  \nc")
    assert list(TextFile(str(tmp_path / "ids.txt")).ids()) == ["a", " b ", "c"]
    (tmp_path / "ids.jsonl").write_text('{"_id": 7}\n\n{"id": "x", "text": 5}\n')
    assert list(TextFile(str(tmp_path / "ids.jsonl")).ids()) == ["7", "x"]
    (tmp_path / "ids.csv").write_text("key,text\nx,a\n")
    assert list(TextFile(str(tmp_path / "ids.csv"), id_field="key").ids()) == ["x"]
    with pytest.raises(InputError, match="line 2: no 'id' or '_id' among key, text; choose with --id-field"):
        list(TextFile(str(tmp_path / "ids.csv")).ids())
