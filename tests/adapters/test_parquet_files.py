"""Files of texts into files of embeddings: what is unreadable is named, and only one's own leftovers are removed."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
from pyarrow import parquet  # noqa: E402

from m3rt import InputError  # noqa: E402
from m3rt.adapters.arrow import TableEncoder  # noqa: E402
from m3rt.adapters.parts.parquet_files import FilePair, encode_file, remove_leftovers  # noqa: E402
from m3rt.host.files import replacing  # noqa: E402


@pytest.fixture(scope="module")
def encode() -> TableEncoder:
    return TableEncoder(threads=1)


def compressed_badly(path: Path) -> None:
    """A file whose footer is whole and whose rows are not."""
    parquet.write_table(pa.table({"text": ["some words"] * 10}), path, compression="gzip", use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = data.index(b"\x1f\x8b")
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)


def not_utf8(path: Path) -> None:
    """A file whose texts are no texts, for which Arrow has another class of errors."""
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False, "data_page_version": "1.0"}
    parquet.write_table(pa.table({"text": ["some words"] * 10}), path, **options)
    data = bytearray(path.read_bytes())
    start = data.index(b"\n\x00\x00\x00some words" * 2)
    data[start : start + 4] = b"\xff\xff\xff\x7f"  # a length beyond the page
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [compressed_badly, not_utf8])
def test_rows_that_cannot_be_read_are_one_line_that_names_the_source(
    damage: Callable[[Path], None], encode: TableEncoder, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    damage(source)
    with pytest.raises(InputError, match=rf"^{re.escape(str(source))} cannot be read: [^\n]*$"):
        encode_file(encode, FilePair(source, target))
    assert os.listdir(tmp_path) == ["in.parquet"]


def test_only_files_that_a_killed_call_was_writing_are_leftovers(tmp_path: Path) -> None:
    with replacing(tmp_path / "in.parquet") as aside:
        killed = {aside.name, ".In 2.PARQUET.77"}
        others = {".in.parquet.crc", ".in.parquet.swp", ".x.parquet.12.bak", "in.parquet.5", ".parquet.5", ".m3rt.lock"}
        for name in killed | others:
            (tmp_path / name).touch()
        remove_leftovers(tmp_path)
        assert set(os.listdir(tmp_path)) == others
        aside.touch()
