"""Commits of HybridIndex: whole or not there, whatever happens to the process, the disk or the files."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import DIM, documents, embeddings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from m3rt import HybridIndex, HybridIndexError, M3rtError, OutputError
from m3rt.index.store.directory import writing
from m3rt.index.store.mapping import map_bytes

NAMES = [f"doc-{i}" for i in range(30)]
DOCS = documents(30)

SUPPORT = str(Path(__file__).parents[1] / "support")


def create(path: Path, **options: Any) -> HybridIndex:
    return HybridIndex.create(path, dim=DIM, **{"colbert": "int8", **options})


def add(index: HybridIndex, first: int, last: int, version: str = "one") -> None:
    texts = [f"{version} of {name}" for name in NAMES[first:last]]
    index.add(NAMES[first:last], texts, embeddings=embeddings(DOCS[first:last]))


def contents(index: HybridIndex) -> dict[str, str | None]:
    """Every id and its text, by a search that finds all; each document must be what its own embedding finds first."""
    hits = index.search(embeddings(DOCS[:1]), 1000, mode="dense").hits
    assert len({hit.id for hit in hits}) == len(hits) == len(index)
    for hit in hits[:5]:
        query = embeddings([DOCS[NAMES.index(hit.id)]])
        assert index.search(query, 1, mode="dense")[0].id == hit.id
        assert index.search(query, 1, mode="colbert")[0].id == hit.id
    return {hit.id: hit.text for hit in hits}


def files(path: Path) -> set[str]:
    """All files but the lock, which the first writer makes."""
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} - {".lock"}


def named(path: Path) -> set[str]:
    """The files that the manifest names."""
    manifest = json.loads((path / "index.json").read_text())
    return {"index.json"} | {f"segments/{s['name']}/{name}" for s in manifest["segments"] for name in s["files"]}


CHANGES: dict[str, Callable[[HybridIndex], object]] = {
    "add": lambda index: add(index, 10, 20),
    "replace": lambda index: add(index, 5, 15, "two"),
    "delete": lambda index: index.delete(NAMES[2:7]),
    "compact": lambda index: index.compact(),
}


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """An index of two segments, one with deletions."""
    index = create(tmp_path / "before")
    add(index, 0, 6)
    add(index, 6, 10)
    index.delete([NAMES[1]])
    return tmp_path / "before"


@pytest.mark.parametrize("change", CHANGES)
def test_a_process_killed_at_any_step_leaves_the_commit_before_or_after(
    change: str, before: Path, tmp_path: Path
) -> None:
    old = contents(HybridIndex(before))
    after = HybridIndex(shutil.copytree(before, tmp_path / "after"))
    CHANGES[change](after)
    new = contents(after)
    # In a process of its own: forks of this one may wait forever for threads of its engines, which they do not have.
    script = f"import sys; sys.path.insert(0, {SUPPORT!r}); import test_index_commits as t\n"
    script += f"t.die_at_every_step({change!r}, {str(before)!r}, {str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, check=True, timeout=300)
    copies = sorted(tmp_path.glob("copy-*"))
    assert len(copies) > 5
    for copy in copies:
        index = HybridIndex(copy)
        found = contents(index)
        assert found in (old, new)
        add(index, 28, 30)  # it can be written again, and nothing is left behind
        assert contents(index) == found | {name: f"one of {name}" for name in NAMES[28:]}
        assert files(copy) == named(copy)


def die_at_every_step(change: str, before: str, out: str) -> None:
    """Make a change in copies of an index, in processes that die before its first, second, ... step; in one it ends."""
    os.fsync = lambda fd: None  # what a process wrote outlives it anyway
    CHANGES[change](HybridIndex(shutil.copytree(before, f"{out}/first")))  # loads the kernels that the forks use
    finished, step = False, 0
    while not finished:
        step += 1
        finished = killed_at(step, Path(shutil.copytree(before, f"{out}/copy-{step}")), change)


def killed_at(step: int, path: Path, change: str) -> bool:
    """Make a change in a process that dies before its step-th change to the file system; whether it lived."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9), f"step {step} of {change} raised"
        return code == 0
    try:
        index = HybridIndex(path)
        steps = iter(range(step - 1, -1, -1))

        def die(event: str, args: tuple[object, ...]) -> None:
            if changes(event, args) and str(path) in str(args[0]) and not next(steps):
                os._exit(9)

        sys.addaudithook(die)
        CHANGES[change](index)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def changes(event: str, args: tuple[Any, ...]) -> bool:
    """Whether an audited event changes the file system; rmtree names files by their directory's descriptor."""
    return event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"} or (
        event == "open" and isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
    )


@pytest.mark.parametrize("change", CHANGES)
def test_a_full_disk_leaves_the_index_as_it_was(change: str, before: Path) -> None:
    old, was = contents(HybridIndex(before)), files(before)
    index = HybridIndex(before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 100, 1000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(OutputError, match="File too large; the index is as it was before"):
                CHANGES[change](index)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert contents(index) == contents(HybridIndex(before)) == old
        assert files(before) == was
    CHANGES[change](index)


def test_what_no_writer_made_is_never_removed(before: Path) -> None:
    strange = [before / "notes.txt", before / "segments/.DS_Store", before / "segments/00000001/README"]
    for file in strange:
        file.write_text("kept")
    (before / "segments/photos/2026").mkdir(parents=True)
    for change in CHANGES.values():
        change(HybridIndex(before))
    assert all(file.read_text() == "kept" for file in strange[:2])
    assert (before / "segments/photos/2026").is_dir()
    (before.parent / "other/segments/photos").mkdir(parents=True)
    with pytest.raises(OutputError, match="holds 'segments/photos'"):
        create(before.parent / "other")


@pytest.mark.parametrize("name", ["segments", "segments/00000001", "segments/20260101"])
def test_links_are_read_and_never_written_through(name: str, before: Path, tmp_path: Path) -> None:
    elsewhere, old = tmp_path / "elsewhere", contents(HybridIndex(before))
    if (before / name).exists():
        (before / name).rename(elsewhere)
    (elsewhere / "20251231").mkdir(parents=True)
    (elsewhere / "mine.npy").touch()
    (before / name).symlink_to(elsewhere)
    index, was = HybridIndex(before), files(elsewhere)
    assert contents(index) == old
    for change in CHANGES.values():
        with pytest.raises(OutputError, match=rf"{name} is no directory of the index's own; copy"):
            change(index)
    assert files(elsewhere) == was
    assert (elsewhere / "20251231").is_dir()


def test_a_second_writer_is_told_so_and_readers_are_not_disturbed(before: Path) -> None:
    index = HybridIndex(before)
    old = contents(index)
    with writing(before):
        for change in CHANGES.values():
            with pytest.raises(OutputError, match=r"another writer has .*; try again"):
                change(index)
    assert contents(index) == old
    add(index, 10, 20)


def test_a_commit_on_top_of_another_hosts_is_refused_and_leaves_that_one(before: Path) -> None:
    index, elsewhere = HybridIndex(before), json.loads((before / "index.json").read_text())
    note = index.note

    def write_elsewhere(_: Path) -> None:  # as a host does whose lock is not seen here
        (before / "index.json").write_text(json.dumps(elsewhere | {"commit": elsewhere["commit"] + 1}))

    with index._writing() as writer:
        writer.delete(NAMES[:2])
        write_elsewhere(before)
        with pytest.raises(OutputError, match=r"got commit \d+ from another host, expected \d+; nothing was written"):
            writer.commit({"mine": 1})
    left = HybridIndex(before)
    assert (left.info()["commit"], left.note) == (elsewhere["commit"] + 1, note)


def test_what_another_host_committed_stays_when_a_commit_is_refused(before: Path) -> None:
    index, elsewhere = HybridIndex(before), json.loads((before / "index.json").read_text())
    theirs = before / "segments" / "00000007"
    with index._writing() as writer:
        writer.delete(NAMES[:2])
        shutil.copytree(before / "segments" / "00000002", theirs)
        more = [*elsewhere["segments"], {**elsewhere["segments"][1], "name": "00000007"}]
        changed = {"commit": elsewhere["commit"] + 1, "next_segment": 8, "segments": more}
        (before / "index.json").write_text(json.dumps(elsewhere | changed))
        with pytest.raises(OutputError, match="from another host"):
            writer.commit(None)
    assert named(before) <= files(before)
    assert HybridIndex(before).verify() == []


def test_an_array_is_never_written_over_what_another_host_has_written(before: Path) -> None:
    index = HybridIndex(before)
    commit = index.info()["commit"] + 1
    theirs = before / "segments" / "00000001" / f"alive-{commit:08}.npy"
    with index._writing() as writer:
        theirs.write_bytes(b"theirs")
        with pytest.raises(FileExistsError):
            writer.delete(NAMES[2:3])
        assert theirs.read_bytes() == b"theirs"


def test_an_index_made_anew_with_as_many_commits_is_seen_and_kept(before: Path) -> None:
    index = HybridIndex(before)
    shutil.rmtree(before)
    anew = create(before)
    add(anew, 20, 22)
    add(anew, 22, 24)
    anew.delete([NAMES[21]])
    assert anew.info()["commit"] == index.info()["commit"]
    add(index, 24, 26)
    assert contents(HybridIndex(before)).keys() == {NAMES[20], *NAMES[22:26]}
    assert index.verify() == []


def test_a_commit_on_top_of_another_index_with_as_many_commits_is_refused(before: Path) -> None:
    index, manifest = HybridIndex(before), json.loads((before / "index.json").read_text())
    with index._writing() as writer:
        (before / "index.json").write_text(json.dumps(manifest | {"note": {"theirs": 1}}))
        with pytest.raises(OutputError, match="was made anew; nothing was written"):
            writer.commit(None)
    assert HybridIndex(before).note == {"theirs": 1}


def test_making_an_index_is_writing(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with writing(tmp_path / "index"), pytest.raises(OutputError, match="another writer has"):
        create(tmp_path / "index")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").touch()
    with pytest.raises(OutputError, match=r"holds 'thesis\.tex'"):
        create(tmp_path / "theirs")
    assert os.listdir(tmp_path / "theirs") == ["thesis.tex"]


# A process that forks while it holds a lock, whose child outlives the block.
FORK_WHILE_LOCKED = """
import os, sys
from pathlib import Path
from m3rt.index.store.directory import writing
from m3rt.output.spool import Spool
def lock():
    return writing(Path(sys.argv[1])) if sys.argv[2] == "index" else Spool(Path(sys.argv[1]), {})
read, write = os.pipe()
with lock():
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0)
with lock():
    print("free")
os.write(write, b"x")
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("what", ["index", "output"])
def test_a_forked_child_holds_no_lock_of_its_parent(what: str, before: Path, tmp_path: Path) -> None:
    place = before if what == "index" else tmp_path / "out.jsonl"
    command = [sys.executable, "-c", FORK_WHILE_LOCKED, str(place), what]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "free\n"


def test_no_module_of_posix_alone_is_needed_to_import() -> None:
    script = (
        "import sys; sys.modules['fcntl'] = None; import m3rt.index, m3rt.output.spool, m3rt.cli.index; print('yes')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("yes\n", "")


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
        assert (done.stdout, done.stderr) == (expected, "")


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


def test_a_writer_that_was_killed_holds_no_lock(before: Path) -> None:
    script = f"""
import os, signal
from m3rt.index.store.directory import writing
from pathlib import Path
with writing(Path({str(before)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    add(HybridIndex(before), 10, 20)


def test_an_open_index_is_read_unchanged_while_others_write(before: Path) -> None:
    reader, writer = HybridIndex(before), HybridIndex(before)
    old = contents(reader)
    for change in CHANGES.values():
        change(writer)
        assert contents(reader) == old  # its segments' files are gone by now
    assert reader.refresh()
    assert not reader.refresh()
    assert contents(reader) == contents(writer) != old


def test_a_writer_builds_on_what_others_committed(before: Path) -> None:
    one, two = HybridIndex(before), HybridIndex(before)
    add(one, 10, 15)
    add(two, 15, 20)
    assert len(two) == 19
    assert one.refresh()
    assert contents(one) == contents(two)


def test_an_add_replaces_what_has_the_same_id(before: Path) -> None:
    index = HybridIndex(before)
    result = index.add(NAMES[4:8], ["new"] * 4, embeddings=embeddings(DOCS[4:8]))
    assert (result.documents, result.replaced) == (4, 4)
    assert len(index) == 9
    assert [name for name, text in contents(index).items() if text == "new"].sort() == NAMES[4:8].sort()
    assert index.delete([*NAMES[4:6], "not there"]) == 2
    assert index.delete(NAMES[4:6]) == 0


def test_many_small_adds_make_few_segments(tmp_path: Path) -> None:
    index = create(tmp_path / "index")
    for i in range(30):
        add(index, i, i + 1)
        assert index.info()["segments"] <= 14
    assert contents(index).keys() == set(NAMES)
    assert files(index.path) == named(index.path)


def test_compact_leaves_one_segment_without_what_was_deleted(before: Path) -> None:
    index = HybridIndex(before)
    old, size = contents(index), index.info()["size"]
    index.compact()
    info = index.info()
    assert (info["segments"], info["deleted_rows"], info["documents"]) == (1, 0, 9)
    assert info["size"] < size
    assert contents(index) == old
    commit = info["commit"]
    index.compact()
    assert index.info()["commit"] == commit  # nothing to do
    index.delete(NAMES)
    assert (index.info()["segments"], len(index)) == (0, 0)


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


class Histories(RuleBasedStateMachine):
    """Any sequence of changes leaves what the same changes leave in a dictionary."""

    @initialize(tmp=st.uuids())
    def start(self, tmp: object) -> None:
        self.path = Path(os.environ["M3RT_CACHE"]) / f"index-{tmp}"
        self.index = create(self.path, colbert="int8")
        self.model: dict[str, str | None] = {}
        self.version = 0

    @rule(part=st.slices(30))
    def add(self, part: slice) -> None:
        self.version += 1
        chosen = dict(zip(NAMES[part], DOCS[part], strict=True))
        texts = [f"{self.version} of {name}" for name in chosen]
        result = self.index.add(list(chosen), texts, embeddings=embeddings(list(chosen.values())))
        assert result.replaced == len(chosen.keys() & self.model.keys())
        self.model |= dict(zip(chosen, texts, strict=True))

    @rule(part=st.slices(30))
    def delete(self, part: slice) -> None:
        assert self.index.delete(NAMES[part]) == len(set(NAMES[part]) & self.model.keys())
        for name in NAMES[part]:
            self.model.pop(name, None)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def reopen(self) -> None:
        self.index = HybridIndex(self.path)

    @invariant()
    def holds_the_same(self) -> None:
        if hasattr(self, "index"):
            assert contents(self.index) == self.model
            assert files(self.path) == named(self.path)

    def teardown(self) -> None:
        if hasattr(self, "path"):
            shutil.rmtree(self.path)


Histories.TestCase.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
TestHistories = Histories.TestCase
