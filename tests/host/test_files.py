"""Files of others are read with a limit and never waited for; locks end with their process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m3rt.host.files import Busy, locked, read_bytes, replacing, replacing_folder


def test_a_regular_file_within_the_limit_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_bytes(path, 10) == b"0123456789"


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "hole", "longer"])
def test_what_is_no_regular_file_of_the_limit_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 1 << 36 if kind == "hole" else 11)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(OSError, match=r"no regular file|larger than the 10 bytes"):
        read_bytes(path, 10)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_grows_beyond_its_size_is_refused() -> None:
    with pytest.raises(OSError, match="larger than the 5 bytes"):
        read_bytes(Path("/proc/self/status"), 5)  # its size is 0


def test_a_file_that_is_written_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "new")]


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_on_the_way_leaves_what_was_there_and_nothing_else(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "it"
    if not folder:
        path.write_text("old")

    def write() -> None:
        with replacing_folder(path, tmp_path / ".aside") if folder else replacing(path) as aside:
            (aside / "part" if folder else aside).write_text("half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write()
    assert [each.name for each in tmp_path.iterdir()] == ([] if folder else ["it"])
    assert folder or path.read_text() == "old"


@pytest.mark.parametrize("call", ["replacing(path)", "replacing_folder(path, path.with_name('.aside'))"])
def test_a_kill_on_the_way_leaves_what_was_there(tmp_path: Path, call: str) -> None:
    path = tmp_path / "it"
    if "folder" not in call:
        path.write_text("old")
    script = f"""
import os, sys
from pathlib import Path
from m3rt.host.files import replacing, replacing_folder
path = Path({str(path)!r})
with {call} as aside:
    (aside / "part" if aside.is_dir() else aside).write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert path.read_text() == "old" if "folder" not in call else not path.exists()
    left = [each.name for each in tmp_path.iterdir() if each != path]
    assert len(left) == 1
    assert left[0].startswith(".")


def test_a_folder_is_not_put_over_one_that_holds_something(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.mkdir()
    (path / "mine").touch()

    def write() -> None:
        with replacing_folder(path, tmp_path / ".aside") as aside:
            (aside / "part").touch()

    with pytest.raises(OSError, match="not empty"):
        write()
    assert [each.name for each in path.iterdir()] == ["mine"]
    assert [each.name for each in tmp_path.iterdir()] == ["it"]


def test_a_lock_keeps_other_threads_and_processes_out(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    script = f"from m3rt.host.files import *; from pathlib import Path\nwith locked(Path({str(path)!r})): print('in')"
    with locked(path):
        with pytest.raises(Busy), locked(path):
            pass
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert other.returncode == 1
        assert "Busy" in other.stderr
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "in\n"


# Runs in a new process: a fork here would copy threads that other tests have left.
_FORK = """
import os, signal, sys, time
from pathlib import Path
from m3rt.host.files import locked
lock = Path(sys.argv[1])
read, write = os.pipe()
born, cry = os.pipe()
with locked(lock):
    child = os.fork()
    if child == 0:
        os.write(cry, b"x")
        os.read(read, 1)  # until the parent has looked
        os._exit(0)
    os.read(born, 1)
    if sys.argv[2] == "killed":
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
with locked(lock):
    print("free")
os.write(write, b"x")
os.waitpid(child, 0)
"""


def test_a_lock_in_a_missing_folder_is_an_error_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "missing" / "lock"):
        pytest.fail("it was locked")
    assert not (tmp_path / "missing").exists()


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FORK, str(tmp_path / ".lock"), "released"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "free\n"


def test_the_lock_of_a_killed_process_is_free_while_its_child_lives(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FORK, str(tmp_path / ".lock"), "killed"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.wait(60)
    try:
        with locked(tmp_path / ".lock"):
            pass
    finally:
        parent.stdout.close()
        os.kill(child, 9)
