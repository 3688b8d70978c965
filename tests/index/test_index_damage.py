"""Files of HybridIndex that are damaged, or cannot be read: each is named, and nothing is lost with it."""

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import embeddings
from indexes import CHANGES, DOCS, NAMES, add, contents, files, two_segments
from own_lines import own_lines

from m3rt import HybridIndex, HybridIndexError, M3rtError
from m3rt.index.store.mapping import map_bytes


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return two_segments(tmp_path / "before")


def test_an_index_that_may_not_be_written_is_searched(before: Path) -> None:
    for directory in (before, *before.rglob("*")):
        directory.chmod(0o555 if directory.is_dir() else 0o444)
    try:
        assert len(contents(HybridIndex(before))) == 9
    finally:
        for directory in (before, *before.rglob("*")):
            directory.chmod(0o755 if directory.is_dir() else 0o644)


# Opens an index again and again, as a process may that serves many.
OPEN_OFTEN = """
import resource, sys
from m3rt import HybridIndex
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)
kept = [HybridIndex(sys.argv[1]) for _ in range(int(sys.argv[3]))]
print({len(index) for index in kept}, {index.info()["segments"] for index in kept})
"""


def test_open_indexes_keep_no_descriptors(before: Path) -> None:
    expected = f"{{{len(HybridIndex(before))}}} {{{HybridIndex(before).info()['segments']}}}\n"
    for limit, times in ((64, 100), (1024, 400)):
        command = [sys.executable, "-W", "error", "-c", OPEN_OFTEN, str(before), str(limit), str(times)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.stdout, own_lines(done.stderr)) == (expected, "")


@pytest.mark.parametrize("size", [0, 1, 1 << 14, (1 << 14) + 1, 1 << 16])
def test_bytes_in_memory_are_those_of_the_file_and_outlive_it(size: int, tmp_path: Path) -> None:
    file, data = tmp_path / "file", os.urandom(size)
    file.write_bytes(data)
    found = map_bytes(file, size)[size // 3 :]
    file.unlink()
    assert found.tobytes() == data[size // 3 :]
    assert not found.flags.writeable
    file.write_bytes(data)
    with pytest.raises(OSError, match=f"has {size} bytes, expected {size + 1}"):
        map_bytes(file, size + 1)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO, errno.ENOMEM, errno.ESTALE])
@pytest.mark.parametrize("name", ["keys.npy", "dense.codes.npy", "documents.bytes.npy"])
def test_a_file_that_cannot_be_read_just_now_is_no_damage(
    name: str, code: int, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, old, was = HybridIndex(before), contents(HybridIndex(before)), files(before)
    opened = Path.open

    def fail(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == name:
            raise OSError(code, os.strerror(code), str(self))
        return opened(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(HybridIndexError, match=rf"{name} cannot be read just now \({os.strerror(code)}\); [^\n]+$"):
            HybridIndex(before)
        for change in (index.verify, index.compact, lambda: index.compact(drop_damaged=True)):
            with pytest.raises(HybridIndexError, match="cannot be read just now"):
                change()
    assert files(before) == was
    assert contents(HybridIndex(before)) == old


def test_too_few_descriptors_end_in_one_line_and_exit_status_2(before: Path) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)\n"
    script = f"{limit}from m3rt.cli import main; import m3rt.index.hybrid; sys.exit(main(sys.argv[2:]))"
    # Every number at which Python starts, up to one at which all is well.
    outcomes = set()
    for descriptors in range(4, 16):
        command = [sys.executable, "-c", script, str(descriptors), "index", "compact", str(before), "--drop-damaged"]
        done = subprocess.run(command, capture_output=True, text=True)
        outcomes.add((done.returncode, "Traceback" in done.stderr, "given up" in done.stderr))
        assert len(HybridIndex(before)) == 9
    assert outcomes <= {(0, False, False), (2, False, False), (1, True, False)}
    assert (0, False, False) in outcomes


def damage(path: Path, segment: str, name: str) -> Path:
    return path / "segments" / segment / name


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwritten_header(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\0" * 40)


@pytest.mark.parametrize("name", ["documents.bytes.npy", "dense.codes.npy", "keys.npy", "colbert.offsets.npy"])
@pytest.mark.parametrize("harm", [Path.unlink, cut_short, overwritten_header])
def test_a_damaged_segment_is_named_and_the_rest_is_read(name: str, harm: Callable[[Path], None], before: Path) -> None:
    harm(damage(before, "00000001", name))
    with pytest.warns(UserWarning, match=rf"segment 00000001 is left out: .*{name} [^\n]+$"):
        index = HybridIndex(before)
    assert contents(index).keys() == set(NAMES[6:10])
    assert list(index.info()["damaged"]) == ["00000001"]
    for change in CHANGES.values():  # its ids would be there twice once the file is restored
        with pytest.raises(HybridIndexError, match=r"segment 00000001 is damaged: .*; restore it, or give it up: m3rt"):
            change(index)
    with pytest.warns(UserWarning, match=r"^segment 00000001 is given up: .*; its 5 documents are lost$"):
        index.compact(drop_damaged=True)
    add(index, 10, 12)
    assert contents(HybridIndex(before)).keys() == set(NAMES[6:12])


def test_a_restored_segment_is_as_it_was(before: Path, tmp_path: Path) -> None:
    old, file = contents(HybridIndex(before)), damage(before, "00000001", "keys.npy")
    kept = file.rename(tmp_path / "kept")
    with pytest.warns(UserWarning, match="left out"):
        index = HybridIndex(before)
    with pytest.raises(HybridIndexError, match=r"keys.npy is missing; restore it"):
        add(index, 0, 6)
    kept.rename(file)
    assert contents(HybridIndex(before)) == old


@pytest.mark.parametrize("change", [lambda index: index.compact(drop_damaged=True), CHANGES["add"]])
def test_a_segment_that_is_back_is_neither_given_up_nor_in_the_way(
    change: Callable[[HybridIndex], object], before: Path, tmp_path: Path
) -> None:
    file = damage(before, "00000001", "keys.npy")
    old, kept = contents(HybridIndex(before)), file.rename(tmp_path / "kept")
    with pytest.warns(UserWarning, match="left out"):
        index = HybridIndex(before)
    kept.rename(file)
    change(index)
    assert contents(HybridIndex(before)).items() >= old.items()


@pytest.mark.parametrize("kind", ["fifo", "hole", "directory"])
def test_verify_names_what_is_no_file_of_its_size_and_never_waits(kind: str, before: Path) -> None:
    index, file = HybridIndex(before), damage(before, "00000001", "keys.npy")
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    else:
        file.touch()
        os.truncate(file, 1 << 36)
    (fault,) = index.verify()
    assert f"{file} has " in fault


@pytest.mark.parametrize("name", ["dense.codes.npy", "documents.bytes.npy", "sparse.indices.npy"])
def test_what_a_merge_copies_is_what_was_written(name: str, before: Path) -> None:
    index, file = HybridIndex(before), damage(before, "00000002", name)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(HybridIndexError, match=rf"segment 00000002 is damaged: .*{name} has SHA-256"):
        index.compact()
    with pytest.warns(UserWarning, match=r"^segment 00000002 is given up: .*; its \d documents are lost$"):
        index.compact(drop_damaged=True)
    assert index.verify() == []
    assert contents(index).keys() == {NAMES[0], *NAMES[2:6]}


def bits_of(path: Path) -> list[tuple[Path, int]]:
    """Every 61st bit of the arrays that say where things are."""
    found = [file for name in PLACES for file in path.glob(f"segments/*/{name}.npy")]
    return [(file, bit) for file in found for bit in range(8 * 128, 8 * file.stat().st_size, 61)]


PLACES = ("*.offsets", "key_order", "facet_*", "inverted.indptr", "inverted.docs", "keys", "sparse.indices")


def test_a_wrong_place_is_a_damaged_segment_or_another_place_and_never_a_crash(before: Path) -> None:
    index = HybridIndex(before)
    index.add(["facets"], embeddings=embeddings(DOCS[20:21]), metadata=[{"lang": "de", "n": 7}])
    query, told = embeddings(DOCS[:1]), 0
    for file, bit in bits_of(before):
        data = bytearray(file.read_bytes())
        data[bit // 8] ^= 1 << bit % 8
        good, _ = file.read_bytes(), file.write_bytes(data)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                index = HybridIndex(before)
                told += len(caught)
            for mode in ("dense", "sparse", "colbert"):
                index.search(query, 100, mode=mode, explain=True)
            index.search(query, filter={"lang": "de"})
        except M3rtError as error:
            assert "damaged" in str(error) or "which no document" in str(error)  # noqa: PT017
        file.write_bytes(good)
    assert told > 30


@pytest.mark.parametrize("shift", range(1, 6))
def test_keys_that_do_not_fit_their_order_are_a_damaged_segment_or_other_ids(shift: int, before: Path) -> None:
    file = damage(before, "00000001", "key_order.npy")
    data = bytearray(file.read_bytes())
    data[128:] = np.roll(np.frombuffer(data[128:], np.int64), shift).tobytes()
    file.write_bytes(data)
    for name in NAMES[:6]:
        try:
            assert HybridIndex(before).delete([name]) in (0, 1)
        except HybridIndexError as error:
            assert "segment 00000001 is damaged" in str(error)  # noqa: PT017


def test_verify_finds_a_changed_bit(before: Path) -> None:
    index = HybridIndex(before)
    assert index.verify() == []
    file = damage(before, "00000002", "dense.codes.npy")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (fault,) = index.verify()
    assert str(file) in fault
    assert "SHA-256" in fault
