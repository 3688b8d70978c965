"""Writers of HybridIndex: one at a time on a host, and none that loses the commit of another host."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from indexes import CHANGES, NAMES, add, contents, create, files, named, two_segments

from m3rt import HybridIndex, OutputError
from m3rt.index.store.directory import writing


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return two_segments(tmp_path / "before")


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
